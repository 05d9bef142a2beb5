// qk_norm_rope: output of q_proj or k_proj -> per-head rms_norm -> rotary embedding, as Qwen3Attention.forward does.
//   y = c * z (DoRA's column scale; c null means 1),  n = rms_norm(y[head]) * weight,
//   out[j] = n[j] * cos[j] - n[j + D/2] * sin[j],  out[j + D/2] = n[j + D/2] * cos[j] + n[j] * sin[j]   (j < D/2)
// Every product and sum is rounded to T, and the tables hold values of T: transformers' order in bf16.
#pragma once
#include <cmath>
#include <cstdint>

#include "expert/core/batch.hpp"
#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"
#include "expert/ops/rope.hpp"

namespace expert {
inline namespace v0 {

// cos and sin by position: (positions, head_dim / 2) each, in f32, already rounded to the compute type.
struct RopeTable {
  const float* cos = nullptr;
  const float* sin = nullptr;
};

namespace reference {

// z: (tokens, heads * head_dim); token t goes to place out_rows[t] of `out` when given (a KV cache), else to place t;
// rstd: (tokens, heads).
template <class T>
void qk_norm_rope_forward(std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, float eps, const T* z,
                          const float* c, const T* weight, RopeTable table, const std::int32_t* positions, T* out,
                          HeadLayout layout, const std::int32_t* out_rows, float* rstd) noexcept {
  const std::int64_t half = head_dim / 2, width = heads * head_dim;
  for (std::int64_t t = 0; t < tokens; ++t) {
    T* token = out + (out_rows != nullptr ? std::int64_t{out_rows[t]} : t) * layout.token;
    const float *cos = table.cos + positions[t] * half, *sin = table.sin + positions[t] * half;
    for (std::int64_t h = 0; h < heads; ++h) {
      const T* in = z + t * width + h * head_dim;
      const float* scale_in = c != nullptr ? c + h * head_dim : nullptr;
      const auto y = [&](std::int64_t d) {
        return scale_in != nullptr ? float(T(float(in[d]) * scale_in[d])) : float(in[d]);
      };
      float sum = 0;
      for (std::int64_t d = 0; d < head_dim; ++d) sum += y(d) * y(d);
      const float scale = 1 / std::sqrt(sum / static_cast<float>(head_dim) + eps);
      rstd[t * heads + h] = scale;
      T* o = token + h * layout.head;
      for (std::int64_t d = 0; d < head_dim; ++d) o[d] = T(float(T(y(d) * scale)) * float(weight[d]));
      rope_forward(1, 1, head_dim, o, cos, sin, o);
    }
  }
}

// d_out: (tokens, heads * head_dim), gradient of the rotated values; written in place as the gradient of y.
// d_weight: (head_dim) f32, added to, or null.
template <class T>
void qk_norm_rope_backward(std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, const T* z, const float* c,
                           const T* weight, RopeTable table, const std::int32_t* positions, const float* rstd, T* d_out,
                           float* d_weight) noexcept {
  const std::int64_t half = head_dim / 2, width = heads * head_dim;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const float *cos = table.cos + positions[t] * half, *sin = table.sin + positions[t] * half;
    for (std::int64_t h = 0; h < heads; ++h) {
      const T* in = z + t * width + h * head_dim;
      const float* scale_in = c != nullptr ? c + h * head_dim : nullptr;
      const auto y = [&](std::int64_t d) {
        return scale_in != nullptr ? float(T(float(in[d]) * scale_in[d])) : float(in[d]);
      };
      T* g = d_out + t * width + h * head_dim;
      const float scale = rstd[t * heads + h];
      float dot = 0;
      rope_backward(1, 1, head_dim, g, cos, sin, g);
      for (std::int64_t d = 0; d < head_dim; ++d) dot += float(g[d]) * float(weight[d]) * y(d);
      const float k = dot * scale * scale * scale / static_cast<float>(head_dim);
      for (std::int64_t d = 0; d < head_dim; ++d) {
        if (d_weight != nullptr) d_weight[d] += float(g[d]) * float(T(y(d) * scale));
        g[d] = T(float(g[d]) * float(weight[d]) * scale - y(d) * k);
      }
    }
  }
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
