// rope: positions and inverse frequencies -> tables of cos and sin; tables and (tokens, heads, head_dim) -> rotated
// values.
//   out[j] = x[j] * cos[j] - x[j + D/2] * sin[j],  out[j + D/2] = x[j + D/2] * cos[j] + x[j] * sin[j]   (j < D/2)
// Layout and rounding of transformers (rotate_half, modeling_qwen3.py 5.23): tables hold values of T; in T every
// product is rounded, then the sum. qk_norm_rope.hpp is this op fused with the norm before it.
#pragma once
#include <cmath>
#include <cstdint>
#include <span>

#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"

namespace expert {
inline namespace v0 {
namespace reference {

// cos and sin of positions[p] * inv_freq[j], times `scaling`: (positions, inv_freq.size()) each, in f32 with values
// rounded to T. The angle is the f32 product, as in transformers; its cosine is the correctly rounded one (torch:
// within 1 ulp).
template <class T>
void rope_tables(std::span<const std::int32_t> positions, std::span<const float> inv_freq, float scaling, float* cos,
                 float* sin) noexcept {
  for (const std::int32_t position : positions)
    for (const float f : inv_freq) {
      const double angle = static_cast<float>(position) * f;
      *cos++ = float(T(static_cast<float>(std::cos(angle)) * scaling));
      *sin++ = float(T(static_cast<float>(std::sin(angle)) * scaling));
    }
}

// x, out: (tokens, heads, head_dim), may be the same; cos, sin: (tokens, head_dim / 2), one row per token.
template <class T>
void rope_forward(std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, const T* x, const float* cos,
                  const float* sin, T* out) noexcept {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t t = 0; t < tokens; ++t, cos += half, sin += half)
    for (std::int64_t h = 0; h < heads; ++h, x += head_dim, out += head_dim)
      for (std::int64_t j = 0; j < half; ++j) {
        const float a = float(x[j]), b = float(x[j + half]);
        out[j] = T(float(T(a * cos[j])) - float(T(b * sin[j])));
        out[j + half] = T(float(T(b * cos[j])) + float(T(a * sin[j])));
      }
}

// The transpose, which is the rotation by the negative angle. d_out, d_x: as out and x; may be the same.
template <class T>
void rope_backward(std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, const T* d_out, const float* cos,
                   const float* sin, T* d_x) noexcept {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t t = 0; t < tokens; ++t, cos += half, sin += half)
    for (std::int64_t h = 0; h < heads; ++h, d_out += head_dim, d_x += head_dim)
      for (std::int64_t j = 0; j < half; ++j) {
        const float a = float(d_out[j]), b = float(d_out[j + half]);
        d_x[j] = T(float(T(a * cos[j])) + float(T(b * sin[j])));
        d_x[j + half] = T(float(T(b * cos[j])) - float(T(a * sin[j])));
      }
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
