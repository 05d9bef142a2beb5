// Rows times a weight matrix in any storage, and the adapter's low-rank term, on the CPU. See ops/linear.hpp.
#pragma once
#include <algorithm>
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/cpu/gemm.hpp"
#include "expert/cpu/ops.hpp"
#include "expert/ops/linear.hpp"

namespace expert {
inline namespace v0 {

namespace detail {

// Calls f(pointer to numbers of W). Quantised matrices are unpacked to T first: `unpacked` has room for out * in of
// them.
template <class T, class F>
void with_weight(Cpu& cpu, const MatrixView& w, T* unpacked, F&& f) noexcept {
  switch (w.storage) {
    case Storage::f32:
      return f(static_cast<const float*>(w.data));
    case Storage::bf16:
      return f(static_cast<const bf16*>(w.data));
    case Storage::nf4: {
      const auto* packed = static_cast<const std::uint8_t*>(w.data);
      parallel_pieces(cpu, w.out * w.in, std::int64_t{1} << 14, [&](std::int64_t first, std::int64_t count) {
        reference::dequantize_4bit(nf4_code, packed, w.scales, w.block_size, first, count, unpacked + first);
      });
      return f(static_cast<const T*>(unpacked));
    }
    case Storage::int8: {
      const auto* codes = static_cast<const std::int8_t*>(w.data);
      parallel_pieces(cpu, w.out, row_piece, [&](std::int64_t first, std::int64_t count) {
        for (std::int64_t i = first; i < first + count; ++i)
          reference::dequantize_int8_row(codes + i * w.in, w.row_absmax[i], w.in, unpacked + i * w.in);
      });
      return f(static_cast<const T*>(unpacked));
    }
  }
}

}  // namespace detail

// y (rows, out) = x W^T
template <class T>
void linear_forward(Cpu& cpu, std::int64_t rows, const MatrixView& w, const T* x, T* y, T* unpacked) noexcept {
  detail::with_weight(cpu, w, unpacked, [&](const auto* weight) noexcept {
    gemm(cpu, Trans::no, Trans::yes, rows, w.out, w.in, 1.0f, x, w.in, weight, w.in, 0.0f, y, w.out);
  });
}

// d_x (rows, in) = d_y W, added to d_x where accumulate is set.
template <class T>
void linear_backward_input(Cpu& cpu, std::int64_t rows, const MatrixView& w, const T* d_y, bool accumulate, T* d_x,
                           T* unpacked) noexcept {
  detail::with_weight(cpu, w, unpacked, [&](const auto* weight) noexcept {
    gemm(cpu, Trans::no, Trans::no, rows, w.in, w.out, 1.0f, d_y, w.out, weight, w.in, accumulate ? 1.0f : 0.0f, d_x,
         w.in);
  });
}

// d_w (out, in) += d_y^T x
template <class T>
void linear_backward_weight(Cpu& cpu, std::int64_t rows, std::int64_t out, std::int64_t in, const T* d_y, const T* x,
                            float* d_w) noexcept {
  gemm(cpu, Trans::yes, Trans::no, out, in, rows, 1.0f, d_y, out, x, in, 1.0f, d_w, in);
}

// rank_rows (rows, r) = x A^T;  y += s rank_rows B^T
template <class T>
void low_rank_forward(Cpu& cpu, std::int64_t rows, std::int64_t out, std::int64_t in, std::int64_t r, float s,
                      const T* x, const T* a, const T* b, T* rank_rows, T* y) noexcept {
  gemm(cpu, Trans::no, Trans::yes, rows, r, in, 1.0f, x, in, a, in, 0.0f, rank_rows, r);
  gemm(cpu, Trans::no, Trans::yes, rows, out, r, s, rank_rows, r, b, r, 1.0f, y, out);
}

// d_rank (rows, r) = s d_y B;  d_a += d_rank^T x;  d_b += s d_y^T rank_rows.
template <class T>
void low_rank_backward(Cpu& cpu, std::int64_t rows, std::int64_t out, std::int64_t in, std::int64_t r, float s,
                       const T* x, const T* b, const T* rank_rows, const T* d_y, T* d_rank, float* d_a,
                       float* d_b) noexcept {
  gemm(cpu, Trans::no, Trans::no, rows, r, out, s, d_y, out, b, r, 0.0f, d_rank, r);
  gemm(cpu, Trans::yes, Trans::no, r, in, rows, 1.0f, d_rank, r, x, in, 1.0f, d_a, in);
  gemm(cpu, Trans::yes, Trans::no, out, r, rows, s, d_y, out, rank_rows, r, 1.0f, d_b, r);
}

// d_x (rows, in) = d_rank A, added to d_x where accumulate is set.
template <class T>
void low_rank_backward_input(Cpu& cpu, std::int64_t rows, std::int64_t in, std::int64_t r, const T* d_rank, const T* a,
                             bool accumulate, T* d_x) noexcept {
  gemm(cpu, Trans::no, Trans::no, rows, in, r, 1.0f, d_rank, r, a, in, accumulate ? 1.0f : 0.0f, d_x, in);
}

// out (W.out, r) = W a^T for a (r, W.in), in f32: the inner products that DoRA's factored norm needs.
template <class T>
void weight_times_rows(Cpu& cpu, const MatrixView& w, std::int64_t r, const float* a, float* out,
                       T* unpacked) noexcept {
  detail::with_weight(cpu, w, unpacked, [&](const auto* weight) noexcept {
    gemm(cpu, Trans::no, Trans::yes, w.out, r, w.in, 1.0f, weight, w.in, a, w.in, 0.0f, out, r);
  });
}

// square[i] = sum_j W[i][j]^2, in f64 and rounded once.
template <class T>
void weight_row_squares(Cpu& cpu, const MatrixView& w, float* square, T* unpacked) noexcept {
  detail::with_weight(cpu, w, unpacked, [&](const auto* weight) noexcept {
    parallel_pieces(cpu, w.out, row_piece, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t i = first; i < first + count; ++i) {
        double sum = 0;
        for (std::int64_t j = 0; j < w.in; ++j)
          sum += double{float(weight[i * w.in + j])} * double{float(weight[i * w.in + j])};
        square[i] = static_cast<float>(sum);
      }
    });
  });
}

}  // namespace v0
}  // namespace expert
