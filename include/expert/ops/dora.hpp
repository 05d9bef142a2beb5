// dora: W, A, B and the magnitude m -> the column scale c = m / ||W + s B A|| of each output, and the gradient of m.
//   y = c * (x W^T + s (x A^T) B^T).  The norm is a constant in the backward pass, as in PEFT (and section 4.3 of the
//   paper, arXiv 2402.09353). It is taken in the factored form, so that nothing of W's size is written:
//   ||w_i + s b_i A||^2 = ||w_i||^2 + 2 s (W A^T)_i . b_i + s^2 b_i (A A^T) b_i^T
#pragma once
#include <cmath>
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"

namespace expert {
inline namespace v0 {
namespace reference {

// w_square: (out) row sums of W^2; cross: (out, r) = 2 W A^T + s B (A A^T); b: (out, r); norm, c: (out).
// The terms are combined in f64: they cancel when s B A is close to -W.
inline void dora_scale(std::int64_t out, std::int64_t r, float s, const float* w_square, const float* cross,
                       const float* b, const float* magnitude, float* norm, float* c) noexcept {
  for (std::int64_t i = 0; i < out; ++i) {
    double inner = 0;
    for (std::int64_t p = 0; p < r; ++p) inner += double{b[i * r + p]} * double{cross[i * r + p]};
    const double square = double{w_square[i]} + double{s} * inner;
    norm[i] = static_cast<float>(std::sqrt(square > 0 ? square : 0.0));
    c[i] = magnitude[i] / norm[i];
  }
}

// d_y: (rows, cols) gradient of y = c * z; d_z = c * d_y may alias it; d_magnitude[j] += (sum_t d_y z) / norm.
// z, d_y, d_z share one row stride: a caller may split the columns over threads.
template <class T>
void dora_backward(std::int64_t rows, std::int64_t cols, std::int64_t stride, const T* z, const float* c,
                   const float* norm, const T* d_y, T* d_z, float* d_magnitude) noexcept {
  for (std::int64_t j = 0; j < cols; ++j) {
    float sum = 0;
    for (std::int64_t t = 0; t < rows; ++t) {
      const float dy = float(d_y[t * stride + j]);
      sum += dy * float(z[t * stride + j]);
      d_z[t * stride + j] = T(c[j] * dy);
    }
    d_magnitude[j] += sum / norm[j];
  }
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
