// The products of packed weights that are measured, each of which packed_bf16_test checks: shapes of Qwen3-0.6B.
#pragma once
#include <string>

#include "packed_sample.hpp"

namespace expert::tests {

struct PackedCase {
  PackedFormat format;
  std::int64_t rows, out, in;
  bool backward;

  std::string name() const {
    return std::string(name_of_format(format)) + (backward ? " backward " : " forward ") + std::to_string(rows) + "x" +
           std::to_string(out) + "x" + std::to_string(in);
  }
  double flops() const { return 2.0 * static_cast<double>(rows * out * in); }
};

inline std::vector<PackedCase> packed_cases() {
  std::vector<PackedCase> cases;
  for (const PackedFormat format : formats)
    for (const std::int64_t rows : {1, 8, 512, 2048})
      for (const Shape& shape : {Shape{1024, 1024}, {3072, 1024}, {1024, 3072}})
        for (const bool backward : {false, true})
          if (rows >= 512 || !backward) cases.push_back({format, rows, shape.out, shape.in, backward});
  return cases;
}

}  // namespace expert::tests
