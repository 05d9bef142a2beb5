// rms_norm, swiglu and cross_entropy on the CPU: rows spread over the pool, arithmetic and rounding as in the reference.
#pragma once
#include <algorithm>
#include <cstdint>

#include "expert/cpu/device.hpp"
#include "expert/ops/cross_entropy.hpp"
#include "expert/ops/rms_norm.hpp"
#include "expert/ops/swiglu.hpp"

namespace expert {
inline namespace v0 {

namespace detail {
// f(first, count) for pieces of `piece` rows.
template <class F>
void over_rows(Cpu& cpu, std::int64_t rows, std::int64_t piece, F&& f) noexcept {
  cpu.pool->parallel_for((rows + piece - 1) / piece,
                         [&](std::int64_t i, int) noexcept { f(i * piece, std::min(piece, rows - i * piece)); });
}
}  // namespace detail

template <class T>
void rms_norm_forward(Cpu& cpu, std::int64_t rows, std::int64_t cols, float eps, const T* x, std::int64_t x_stride,
                      const T* weight, T* out, std::int64_t out_stride, float* rstd) noexcept {
  detail::over_rows(cpu, rows, 16, [&](std::int64_t t, std::int64_t n) noexcept {
    reference::rms_norm_forward(n, cols, eps, x + t * x_stride, x_stride, weight, out + t * out_stride, out_stride, rstd + t);
  });
}

template <class T>
void rms_norm_backward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* x, std::int64_t x_stride, const T* weight,
                       const float* rstd, const T* d_out, std::int64_t d_out_stride, T* d_x, std::int64_t d_x_stride,
                       bool accumulate) noexcept {
  detail::over_rows(cpu, rows, 16, [&](std::int64_t t, std::int64_t n) noexcept {
    reference::rms_norm_backward(n, cols, x + t * x_stride, x_stride, weight, rstd + t, d_out + t * d_out_stride, d_out_stride,
                                 d_x + t * d_x_stride, d_x_stride, accumulate);
  });
}

template <class T>
void swiglu_forward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* gate, const float* c_gate, const T* up,
                    const float* c_up, T* out) noexcept {
  detail::over_rows(cpu, rows, 4, [&](std::int64_t t, std::int64_t n) noexcept {
    reference::swiglu_forward(n, cols, gate + t * cols, c_gate, up + t * cols, c_up, out + t * cols);
  });
}

template <class T>
void swiglu_backward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* gate, const float* c_gate, const T* up,
                     const float* c_up, const T* d_out, T* d_gate, T* d_up) noexcept {
  detail::over_rows(cpu, rows, 4, [&](std::int64_t t, std::int64_t n) noexcept {
    reference::swiglu_backward(n, cols, gate + t * cols, c_gate, up + t * cols, c_up, d_out + t * cols, d_gate + t * cols,
                               d_up + t * cols);
  });
}

template <class T>
void cross_entropy(Cpu& cpu, std::int64_t rows, std::int64_t vocab, T* logits, const std::int32_t* labels, float scale,
                   float* loss) noexcept {
  detail::over_rows(cpu, rows, 1, [&](std::int64_t t, std::int64_t n) noexcept {
    reference::cross_entropy(n, vocab, logits + t * vocab, labels + t, scale, loss + t);
  });
}

}  // namespace v0
}  // namespace expert
