// Scratch for draws, with numbers in it that would be seen if they were read.
#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "expert/ops/sample.hpp"

struct Scratch {
  std::vector<float> values;
  std::vector<std::int32_t> indices;
  explicit Scratch(std::size_t n) : values(n, std::numeric_limits<float>::quiet_NaN()), indices(n, -1) {}
  expert::SampleScratch get() { return {values.data(), indices.data()}; }
};
