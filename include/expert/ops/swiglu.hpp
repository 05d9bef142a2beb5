// swiglu: outputs of gate_proj and up_proj -> input of down_proj.
//   out = T(silu(g)) * u,  g = c_gate * gate,  u = c_up * up   (DoRA's column scales; null means 1)
// silu is rounded to T before the product, as torch's `act_fn(gate) * up` does in bf16 (Qwen3MLP.forward).
#pragma once
#include <cmath>
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"

namespace expert {
inline namespace v0 {
namespace reference {

// All: (rows, cols), contiguous; c_gate, c_up: (cols) or null.
template <class T>
void swiglu_forward(std::int64_t rows, std::int64_t cols, const T* gate, const float* c_gate, const T* up,
                    const float* c_up, T* out) noexcept {
  for (std::int64_t t = 0; t < rows; ++t) {
    for (std::int64_t j = 0; j < cols; ++j) {
      const std::int64_t i = t * cols + j;
      const float g = c_gate != nullptr ? float(T(float(gate[i]) * c_gate[j])) : float(gate[i]);
      const float u = c_up != nullptr ? float(T(float(up[i]) * c_up[j])) : float(up[i]);
      out[i] = T(float(T(g / (1 + std::exp(-g)))) * u);
    }
  }
}

// d_gate, d_up: gradients of g and u (after their scales). d_gate may alias d_out.
template <class T>
void swiglu_backward(std::int64_t rows, std::int64_t cols, const T* gate, const float* c_gate, const T* up,
                     const float* c_up, const T* d_out, T* d_gate, T* d_up) noexcept {
  for (std::int64_t t = 0; t < rows; ++t) {
    for (std::int64_t j = 0; j < cols; ++j) {
      const std::int64_t i = t * cols + j;
      const float g = c_gate != nullptr ? float(T(float(gate[i]) * c_gate[j])) : float(gate[i]);
      const float u = c_up != nullptr ? float(T(float(up[i]) * c_up[j])) : float(up[i]);
      const float d = float(d_out[i]), sigmoid = 1 / (1 + std::exp(-g));
      d_up[i] = T(d * float(T(g * sigmoid)));
      d_gate[i] = T(float(T(d * u)) * (sigmoid * (1 + g * (1 - sigmoid))));
    }
  }
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
