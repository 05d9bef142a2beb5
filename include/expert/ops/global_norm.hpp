// global_norm: gradients -> the Euclidean norm over all of them and the factor that clips it, as
// torch.nn.utils.clip_grad_norm_. Squares are summed in double within sections whose borders depend on the count alone,
// then over the sections in order: the same bits at any thread count, relative error below (n / 2048 + 259) * 2^-53.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

inline constexpr std::int64_t norm_sections = 256;  // their sums fit on the stack, and 256 tasks balance any pool

struct NormSection {
  std::int64_t first = 0, count = 0;
};
constexpr NormSection norm_section(std::int64_t n, std::int64_t index) {
  const std::int64_t size = (n + norm_sections - 1) / norm_sections, first = std::min(n, index * size);
  return {first, std::min(size, n - first)};
}

// max_norm <= 0: no clipping. A norm that is not finite is the caller's to refuse: the factor would be 0 or NaN.
inline double clip_coefficient(double norm, double max_norm) noexcept {
  return max_norm <= 0 ? 1.0 : std::min(1.0, max_norm / (norm + 1e-6));
}

namespace reference {

// Sum of squares of n numbers, in eight interleaved sums (so that it can be vectorised).
inline double square_sum(const float* x, std::int64_t n) noexcept {
  double lane[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (std::int64_t k = 0; k < 8; ++k) lane[k] += double{x[i + k]} * double{x[i + k]};
  for (std::int64_t k = 0; i < n; ++i, ++k) lane[k] += double{x[i]} * double{x[i]};
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

inline double global_norm(const float* x, std::int64_t n) noexcept {
  double sum = 0;
  for (std::int64_t s = 0; s < norm_sections; ++s) {
    const NormSection section = norm_section(n, s);
    sum += square_sum(x + section.first, section.count);
  }
  return std::sqrt(sum);
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
