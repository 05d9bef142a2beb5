// rms_norm, swiglu and cross_entropy on the CPU: the ops of ops/ in vectors, rows spread over the pool.
//
// Shapes, equations and rounding points are the reference's. Its sums run in one chain, these in the fixed order of
// vector_kernels.inc; exp is the kernels' own (1.1 units in the last place). A row's bits depend on that row and the
// instruction set, not on the thread count or the other rows.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "expert/cpu/device.hpp"
#include "expert/cpu/kernels.hpp"

namespace expert {
inline namespace v0 {

namespace detail {
// f(kernels, row) for every row; a task takes as many rows as have about `piece` numbers.
template <class F>
void over_rows(Cpu& cpu, std::int64_t rows, std::int64_t cols, F&& f) noexcept {
  constexpr std::int64_t piece = std::int64_t{1} << 13;
  const std::int64_t each = std::max<std::int64_t>(1, piece / std::max<std::int64_t>(1, cols));
  with_kernels(cpu.isa, [&](auto kernels) noexcept {
    cpu.pool->parallel_for((rows + each - 1) / each, [&](std::int64_t i, int) noexcept {
      for (std::int64_t t = i * each; t < std::min(rows, (i + 1) * each); ++t) f(kernels, t);
    });
  });
}
}  // namespace detail

template <class T>
void rms_norm_forward(Cpu& cpu, std::int64_t rows, std::int64_t cols, float eps, const T* x, std::int64_t x_stride,
                      const T* weight, T* out, std::int64_t out_stride, float* rstd) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    rstd[t] = kernels.rms_norm_row(cols, eps, x + t * x_stride, weight, out + t * out_stride);
  });
}

template <class T>
void rms_norm_backward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* x, std::int64_t x_stride,
                       const T* weight, const float* rstd, const T* d_out, std::int64_t d_out_stride, T* d_x,
                       std::int64_t d_x_stride, bool accumulate) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    kernels.rms_norm_backward_row(cols, x + t * x_stride, weight, rstd[t], d_out + t * d_out_stride,
                                  d_x + t * d_x_stride, accumulate);
  });
}

template <class T>
void swiglu_forward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* gate, const float* c_gate, const T* up,
                    const float* c_up, T* out) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    kernels.swiglu_row(cols, gate + t * cols, c_gate, up + t * cols, c_up, out + t * cols);
  });
}

template <class T>
void swiglu_backward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* gate, const float* c_gate, const T* up,
                     const float* c_up, const T* d_out, T* d_gate, T* d_up) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    kernels.swiglu_backward_row(cols, gate + t * cols, c_gate, up + t * cols, c_up, d_out + t * cols, d_gate + t * cols,
                                d_up + t * cols);
  });
}

template <class T>
void cross_entropy(Cpu& cpu, std::int64_t rows, std::int64_t vocab, T* logits, const std::int32_t* labels, float scale,
                   float* loss) noexcept {
  detail::over_rows(cpu, rows, vocab, [&](auto kernels, std::int64_t t) noexcept {
    T* row = logits + t * vocab;
    T& at_label = row[labels[t]];
    const float label_logit = static_cast<float>(at_label), max = kernels.max_row(vocab, row);
    const float sum = kernels.exp_row(vocab, max, row), k = scale / sum;
    loss[t] = std::log(sum) + max - label_logit;
    kernels.scale_exp_row(vocab, max, k, row);
    at_label = T(k * kernels.exp_one(label_logit - max) - scale);
  });
}

}  // namespace v0
}  // namespace expert
