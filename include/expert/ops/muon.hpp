// muon: gradients and momentum of one matrix -> its update with all singular values near 1, as torch.optim.Muon
// (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024):
//   m <- m + (1 - b)(g - m);  u = g + b (m - g);  X = u / |u|
//   five times X <- a X + (b A + c A A) X, A = X X^T   (Newton-Schulz; the transpose where there are more rows)
//   W <- W (1 - lr wd) - lr 0.2 sqrt(max(out, in)) X
// The last factor gives the update the root mean square of AdamW's, so that one learning rate serves both (Moonlight,
// arXiv 2502.16982; torch's adjust_lr_fn="match_rms_adamw"). torch iterates in bf16, this in f32.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

inline constexpr std::array<float, 3> newton_schulz{3.4445f, -4.7750f, 2.0315f};
inline constexpr int newton_schulz_steps = 5;
inline constexpr double muon_epsilon = 1e-7;

inline float muon_step_size(double learning_rate, std::int64_t rows, std::int64_t cols) noexcept {
  return static_cast<float>(learning_rate * 0.2 * std::sqrt(static_cast<double>(std::max(rows, cols))));
}

// One element: the momentum moves on, Nesterov's combination is returned.
EXPERT_HOST_DEVICE inline float muon_momentum(float beta, float gradient, float& momentum) noexcept {
  momentum += (1 - beta) * (gradient - momentum);
  return gradient + beta * (momentum - gradient);
}

namespace reference {

// x (rows, cols), rows <= cols, is replaced by its Newton-Schulz iterate; scratch holds rows * cols + 2 * rows * rows.
inline void newton_schulz_wide(std::int64_t rows, std::int64_t cols, float* x, float* scratch) noexcept {
  float *gram = scratch, *polynomial = gram + rows * rows, *next = polynomial + rows * rows;
  const auto [a, b, c] = newton_schulz;
  for (int step = 0; step < newton_schulz_steps; ++step) {
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < rows; ++j) {
        float sum = 0;
        for (std::int64_t k = 0; k < cols; ++k) sum += x[i * cols + k] * x[j * cols + k];
        gram[i * rows + j] = sum;
      }
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < rows; ++j) {
        float sum = 0;
        for (std::int64_t k = 0; k < rows; ++k) sum += gram[i * rows + k] * gram[k * rows + j];
        polynomial[i * rows + j] = (i == j ? a : 0.0f) + b * gram[i * rows + j] + c * sum;
      }
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < cols; ++j) {
        float sum = 0;
        for (std::int64_t k = 0; k < rows; ++k) sum += polynomial[i * rows + k] * x[k * cols + j];
        next[i * cols + j] = sum;
      }
    std::copy_n(next, rows * cols, x);
  }
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
