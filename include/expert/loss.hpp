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
  std::int64_t vocab_rows = 0;  // > 0: logits are (chunk, vocab_rows) and computed twice
  float* state = nullptr;       // then (chunk, 3 + hidden)
};

namespace detail {

// f(first row of the vocabulary, that part of lm_head, its logits as rows of as many numbers).
template <class T, class F>
void over_vocabulary(Cpu& cpu, std::int64_t n, const MatrixView& lm_head, const LossBuffers<T>& b, F&& f) noexcept {
  const std::int64_t row_bytes = lm_head.in * (lm_head.storage == Storage::f32 ? 4 : 2);
  for (std::int64_t v = 0; v < lm_head.out; v += b.vocab_rows) {
    const MatrixView part{static_cast<const std::byte*>(lm_head.data) + v * row_bytes,
                          std::min(b.vocab_rows, lm_head.out - v), lm_head.in, lm_head.storage};
    linear_forward(cpu, n, part, b.rows, b.logits);
    f(v, part);
  }
}

// The losses of n rows, and with them d_rows and d_lm_head.
template <class T>
void buffered_loss(Cpu& cpu, std::int64_t n, const MatrixView& lm_head, float scale, const LossBuffers<T>& b,
                   bool needs_gradient, float* d_lm_head) noexcept {
  linear_forward(cpu, n, lm_head, b.rows, b.logits);
  cross_entropy(cpu, n, lm_head.out, b.logits, b.labels, scale, b.losses);
  if (!needs_gradient) return;
  linear_backward_input(cpu, n, lm_head, b.logits, false, b.d_rows);
  if (d_lm_head != nullptr) linear_backward_weight(cpu, n, lm_head.out, lm_head.in, b.logits, b.rows, d_lm_head);
}
// The same without more than vocab_rows logits of a row at once.
template <class T>
void recomputed_loss(Cpu& cpu, std::int64_t n, const MatrixView& lm_head, float scale, const LossBuffers<T>& b,
                     bool needs_gradient, float* d_lm_head) noexcept {
  const std::int64_t width = lm_head.in;
  const SoftmaxState state{b.state, b.state + n, b.state + 2 * n};
  float* d_rows = b.state + 3 * n;
  begin_softmax(n, state);
  over_vocabulary(cpu, n, lm_head, b, [&](std::int64_t v, const MatrixView& part) noexcept {
    cross_entropy_sums(cpu, n, part.out, b.logits, b.labels, v, state);
  });
  for (std::int64_t i = 0; i < n; ++i) b.losses[i] = std::log(state.sum[i]) + state.max[i] - state.label_logit[i];
  if (!needs_gradient) return;
  over_vocabulary(cpu, n, lm_head, b, [&](std::int64_t v, const MatrixView& part) noexcept {
    cross_entropy_gradient(cpu, n, part.out, b.logits, b.labels, v, scale, state);
    with_numbers<T>(part, [&](const auto* weight) noexcept {
      gemm(cpu, Trans::no, Trans::no, n, width, part.out, 1.0f, b.logits, part.out, weight, width, v > 0 ? 1.0f : 0.0f,
           d_rows, width);
    });
    if (d_lm_head != nullptr) linear_backward_weight(cpu, n, part.out, width, b.logits, b.rows, d_lm_head + v * width);
  });
  convert(cpu, n * width, d_rows, b.d_rows);
}

}  // namespace detail

// Sum over the loss rows of -log p(label). d_hidden (tokens, hidden) is written: `scale` times the gradient of that
// sum, zero where a token bears no loss; null computes the loss alone. d_lm_head (f32) is added to unless null. The sum
// runs in f64 over the tokens in their order; logits are of the compute type, as transformers' lm_head gives them.
template <class T>
double loss_forward_backward(Cpu& cpu, std::int64_t tokens, const MatrixView& lm_head, const T* hidden,
                             const std::int32_t* labels, float scale, const LossBuffers<T>& b, T* d_hidden,
                             float* d_lm_head) noexcept {
  const PhaseScope scope(cpu, Phase::head);
  const std::int64_t width = lm_head.in;
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
    if (b.vocab_rows > 0)
      detail::recomputed_loss(cpu, n, lm_head, scale, b, d_hidden != nullptr, d_lm_head);
    else
      detail::buffered_loss(cpu, n, lm_head, scale, b, d_hidden != nullptr, d_lm_head);
    for (std::int64_t i = 0; i < n; ++i) sum += double{b.losses[i]};
    if (d_hidden == nullptr) continue;
    for (std::int64_t i = 0; i < n; ++i) std::copy_n(b.d_rows + i * width, width, d_hidden + index[i] * width);
  }
  return sum;
}

}  // namespace v0
}  // namespace expert
