// 5. Hidden rows after the final norm, and labels -> the summed loss and the gradient of the hidden rows.
// Only rows that bear loss reach lm_head, in chunks: logits of a whole batch never exist (32 x 2048 x 151936 is 37 GiB
// in f32).
#pragma once
#include <cstdint>
#include <span>

#include "expert/core/batch.hpp"
#include "expert/core/config.hpp"
#include "expert/cpu/instances.hpp"
#include "expert/cpu/linear.hpp"
#include "expert/cpu/phases.hpp"
#include "expert/cpu/vector.hpp"

namespace expert {
inline namespace v0 {

template <class T>
struct LossBuffers {
  T *rows, *d_rows, *logits;     // (chunk, hidden), (chunk, hidden), (chunk, vocab)
  float* losses;                 // (chunk)
  std::int32_t *index, *labels;  // (tokens), (chunk)
  std::int64_t chunk = 0;
};

// Sum over the loss rows of -log p(label). d_hidden (tokens, hidden) is written: `scale` times the gradient of that
// sum, zero where a token bears no loss; null computes the loss alone. d_lm_head (f32) is added to unless null. The sum
// runs in f64 over the tokens in their order; logits are of the compute type, as transformers' lm_head gives them.
template <class T>
double loss_forward_backward(Cpu& cpu, std::int64_t tokens, const MatrixView& lm_head, const T* hidden,
                             const std::int32_t* labels, float scale, const LossBuffers<T>& b, T* d_hidden,
                             float* d_lm_head) noexcept {
  const PhaseScope scope(cpu, Phase::head);
  const std::int64_t width = lm_head.in, vocab = lm_head.out;
  std::int64_t count = 0;
  for (std::int64_t t = 0; t < tokens; ++t)
    if (labels[t] != ignore_index) b.index[count++] = static_cast<std::int32_t>(t);
  if (d_hidden != nullptr)
    parallel_pieces(cpu, tokens * width, std::int64_t{1} << 14,
                    [&](std::int64_t first, std::int64_t n) { std::fill_n(d_hidden + first, n, T(0.0f)); });
  double sum = 0;
  for (std::int64_t first = 0; first < count; first += b.chunk) {
    const std::int64_t n = std::min(b.chunk, count - first);
    const std::int32_t* index = b.index + first;
    for (std::int64_t i = 0; i < n; ++i) {
      b.labels[i] = labels[index[i]];
      std::copy_n(hidden + index[i] * width, width, b.rows + i * width);
    }
    linear_forward(cpu, n, lm_head, b.rows, b.logits);
    cross_entropy(cpu, n, vocab, b.logits, b.labels, scale, b.losses);
    for (std::int64_t i = 0; i < n; ++i) sum += double{b.losses[i]};
    if (d_hidden == nullptr) continue;
    linear_backward_input(cpu, n, lm_head, b.logits, false, b.d_rows);
    if (d_lm_head != nullptr) linear_backward_weight(cpu, n, vocab, width, b.logits, b.rows, d_lm_head);
    for (std::int64_t i = 0; i < n; ++i) std::copy_n(b.d_rows + i * width, width, d_hidden + index[i] * width);
  }
  return sum;
}

}  // namespace v0
}  // namespace expert
