// adamw: parameters, gradients and two moments -> updated parameters and moments, as torch.optim.AdamW (decoupled
// decay):
//   p <- p (1 - lr wd);  m <- m + (1 - b1)(g - m);  v <- b2 v + (1 - b2) g^2
//   p <- p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
// All arrays are f32; the factors are computed in double and rounded once, in torch's order of operations.
#pragma once
#include <cmath>
#include <cstdint>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

// The factors of one step, equal for all elements of a parameter group.
struct AdamWStep {
  float decay;  // 1 - learning_rate * weight_decay
  float one_minus_beta1;
  float beta2, one_minus_beta2;
  float root_bias_correction2;  // sqrt(1 - beta2^t)
  float epsilon;
  float step_size;       // learning_rate / (1 - beta1^t)
  float gradient_scale;  // clipping; 1 when nothing is clipped

  // t counts from 1.
  AdamWStep(double learning_rate, double beta1, double beta2_, double epsilon_, double weight_decay, std::int64_t t,
            double gradient_scale_ = 1) noexcept
      : decay(static_cast<float>(1 - learning_rate * weight_decay)),
        one_minus_beta1(static_cast<float>(1 - beta1)),
        beta2(static_cast<float>(beta2_)),
        one_minus_beta2(static_cast<float>(1 - beta2_)),
        root_bias_correction2(static_cast<float>(std::sqrt(1 - std::pow(beta2_, static_cast<double>(t))))),
        epsilon(static_cast<float>(epsilon_)),
        step_size(static_cast<float>(learning_rate / (1 - std::pow(beta1, static_cast<double>(t))))),
        gradient_scale(static_cast<float>(gradient_scale_)) {}
};

// Written once for all devices.
EXPERT_HOST_DEVICE inline void adamw_element(const AdamWStep& s, float& p, float gradient, float& m,
                                             float& v) noexcept {
  const float g = gradient * s.gradient_scale;
  m += s.one_minus_beta1 * (g - m);
  v = v * s.beta2 + s.one_minus_beta2 * g * g;
  p = p * s.decay - s.step_size * m / (std::sqrt(v) / s.root_bias_correction2 + s.epsilon);
}

namespace reference {

// All arrays: (n).
inline void adamw(const AdamWStep& step, std::int64_t n, float* parameters, const float* gradients, float* exp_avg,
                  float* exp_avg_sq) noexcept {
  for (std::int64_t i = 0; i < n; ++i) adamw_element(step, parameters[i], gradients[i], exp_avg[i], exp_avg_sq[i]);
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
