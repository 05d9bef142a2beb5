// The ops of ops/ on the CPU: rows or columns spread over the pool, arithmetic as in the reference.
// Work is cut into pieces of a fixed size, so the bits do not depend on the number of threads.
#pragma once
#include <algorithm>
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/cpu/device.hpp"
#include "expert/ops/embedding.hpp"
#include "expert/ops/rms_norm.hpp"

namespace expert {
inline namespace v0 {

// f(first, count) for consecutive pieces of [0, n).
template <class F>
void parallel_pieces(Cpu& cpu, std::int64_t n, std::int64_t piece, F&& f) noexcept {
  cpu.pool->parallel_for((n + piece - 1) / piece,
                         [&](std::int64_t i, int) noexcept { f(i * piece, std::min(piece, n - i * piece)); });
}
inline constexpr std::int64_t row_piece = 16, column_piece = 64;

template <class W, class T>
void embedding_forward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const std::int32_t* ids, const W* weight,
                       T* out) noexcept {
  parallel_pieces(cpu, rows, row_piece, [&](std::int64_t first, std::int64_t count) {
    reference::embedding_forward(count, cols, ids + first, weight, out + first * cols);
  });
}

template <class T>
void embedding_backward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const std::int32_t* ids, const T* d_out,
                        float* d_weight) noexcept {
  parallel_pieces(cpu, cols, column_piece, [&](std::int64_t c, std::int64_t count) {
    reference::embedding_backward(rows, count, cols, ids, d_out + c, d_weight + c);
  });
}

template <class T>
void rms_norm_weight_backward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* x, const float* rstd,
                              const T* d_out, float* d_weight, float* partials, std::int64_t chunk) noexcept {
  parallel_pieces(cpu, rows, chunk, [&](std::int64_t first, std::int64_t count) {
    float* partial = partials + first / chunk * cols;
    std::fill_n(partial, cols, 0.0f);
    reference::rms_norm_weight_backward(count, cols, x + first * cols, rstd + first, d_out + first * cols, partial);
  });
  for (std::int64_t i = 0; i * chunk < rows; ++i)
    for (std::int64_t c = 0; c < cols; ++c) d_weight[c] += partials[i * cols + c];
}

}  // namespace v0
}  // namespace expert
