// rms_norm: rows of hidden states -> the same rows at unit root mean square, times a weight.
//   out[t][c] = T(x[t][c] * rstd[t]) * weight[c],   rstd[t] = 1 / sqrt(mean_c(x[t][c]^2) + eps)
// The rounding to T before the product with `weight` is transformers' order (Qwen3RMSNorm.forward).
#pragma once
#include <cmath>
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"

namespace expert {
inline namespace v0 {
namespace reference {

// x, out: (rows, cols) with strides in elements; weight: (cols); rstd: (rows), kept for the backward pass.
template <class T>
void rms_norm_forward(std::int64_t rows, std::int64_t cols, float eps, const T* x, std::int64_t x_stride,
                      const T* weight, T* out, std::int64_t out_stride, float* rstd) noexcept {
  for (std::int64_t t = 0; t < rows; ++t) {
    const T* in = x + t * x_stride;
    T* y = out + t * out_stride;
    float sum = 0;
    for (std::int64_t c = 0; c < cols; ++c) sum += float(in[c]) * float(in[c]);
    const float scale = 1 / std::sqrt(sum / static_cast<float>(cols) + eps);
    rstd[t] = scale;
    for (std::int64_t c = 0; c < cols; ++c) y[c] = T(float(T(float(in[c]) * scale)) * float(weight[c]));
  }
}

// d_x[t] = rstd * (g - x * rstd^2 * mean(g * x)),  g = d_out * weight.
// With accumulate, d_x is added to (the residual stream), else written.
template <class T>
void rms_norm_backward(std::int64_t rows, std::int64_t cols, const T* x, std::int64_t x_stride, const T* weight,
                       const float* rstd, const T* d_out, std::int64_t d_out_stride, T* d_x, std::int64_t d_x_stride,
                       bool accumulate) noexcept {
  for (std::int64_t t = 0; t < rows; ++t) {
    const T *in = x + t * x_stride, *dy = d_out + t * d_out_stride;
    T* dx = d_x + t * d_x_stride;
    const float scale = rstd[t];
    float dot = 0;
    for (std::int64_t c = 0; c < cols; ++c) dot += float(dy[c]) * float(weight[c]) * float(in[c]);
    const float k = dot * scale * scale * scale / static_cast<float>(cols);
    for (std::int64_t c = 0; c < cols; ++c) {
      const float value = float(dy[c]) * float(weight[c]) * scale - float(in[c]) * k;
      dx[c] = accumulate ? T(float(dx[c]) + value) : T(value);
    }
  }
}

// d_weight[c] += sum_t d_out[t][c] * T(x[t][c] * rstd[t]);  x, d_out: (rows, cols), contiguous.
template <class T>
void rms_norm_weight_backward(std::int64_t rows, std::int64_t cols, const T* x, const float* rstd, const T* d_out,
                              float* d_weight) noexcept {
  for (std::int64_t t = 0; t < rows; ++t)
    for (std::int64_t c = 0; c < cols; ++c)
      d_weight[c] += float(d_out[t * cols + c]) * float(T(float(x[t * cols + c]) * rstd[t]));
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
