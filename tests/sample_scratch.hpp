// Logits to draw from, and scratch with numbers in it that would be seen if they were read.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "expert/core/random.hpp"
#include "expert/ops/sample.hpp"

struct Scratch {
  std::vector<float> values;
  std::vector<std::int32_t> indices;
  explicit Scratch(std::size_t n) : values(n, std::numeric_limits<float>::quiet_NaN()), indices(n, -1) {}
  expert::SampleScratch get() { return {values.data(), indices.data()}; }
};

// Peaked and flat, some removed before, many of them equal.
inline std::vector<float> random_logits(std::size_t n, std::uint32_t round) {
  const expert::RandomStream random(5, expert::Purpose::sample, static_cast<std::uint32_t>(n), round);
  std::uint64_t drawn = 0;
  std::vector<float> logits(n);
  const double spread = round % 3 == 0 ? 0.5 : round % 3 == 1 ? 4 : 12;
  for (float& x : logits) {
    x = static_cast<float>(spread * random.normal(drawn++));
    if (round % 2 == 1) x = std::round(4 * x) / 4;
    if (round % 5 == 1 && random.uniform(drawn++) < 0.3f) x = -std::numeric_limits<float>::infinity();
  }
  logits[n / 2] = 1;
  return logits;
}
