// Rows times a weight matrix in any storage, and the adapter's low-rank term, on the CPU. See ops/linear.hpp.
#pragma once
#include <algorithm>
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/cpu/gemm.hpp"
#include "expert/cpu/packed_linear.hpp"
#include "expert/ops/linear.hpp"

namespace expert {
inline namespace v0 {

namespace detail {

// Calls f(pointer to the numbers of W). A packed matrix is unpacked to T first: `unpacked` has room for out * in of
// them.
template <class T, class F>
void with_weight(Cpu&, const MatrixView& w, T*, F&& f) noexcept {
  if (w.storage == Storage::f32) return f(static_cast<const float*>(w.data));
  f(static_cast<const bf16*>(w.data));
}
template <class T, PackedFormat P, class F>
void with_weight(Cpu& cpu, const PackedView<P>& w, T* unpacked, F&& f) noexcept {
  over_unpacked_rows<P>(
      cpu, w.packed, [&](std::int64_t first, std::int64_t count, const float* rows, std::int64_t stride, int) noexcept {
        for (std::int64_t i = 0; i < count; ++i)
          for (std::int64_t j = 0; j < w.in; ++j) unpacked[(first + i) * w.in + j] = T(rows[i * stride + j]);
      });
  f(static_cast<const T*>(unpacked));
}

// The same for a product with activations of T: with bf16 there are no weights of f32.
template <class T, class F>
void with_numbers(const MatrixView& w, F&& f) noexcept {
  if constexpr (std::is_same_v<T, float>)
    if (w.storage == Storage::f32) return f(static_cast<const float*>(w.data));
  f(static_cast<const bf16*>(w.data));
}

}  // namespace detail

// y (rows, out) = x W^T
template <class T>
void linear_forward(Cpu& cpu, std::int64_t rows, const MatrixView& w, const T* x, T* y) noexcept {
  detail::with_numbers<T>(w, [&](const auto* weight) noexcept {
    if constexpr (std::is_same_v<T, bf16>)
      if (rows <= gemv_rows && w.in <= gemm_workspace_floats / 9)
        return dense_gemv(cpu, rows, w.out, w.in, weight, x, y);
    gemm(cpu, Trans::no, Trans::yes, rows, w.out, w.in, 1.0f, x, w.in, weight, w.in, 0.0f, y, w.out);
  });
}
template <class T, PackedFormat P>
void linear_forward(Cpu& cpu, std::int64_t rows, const PackedView<P>& w, const T* x, T* y) noexcept {
  packed_forward<P>(cpu, rows, w.packed, x, w.in, y, w.out);
}

// d_x (rows, in) = d_y W, added to d_x where accumulate is set.
template <class T>
void linear_backward_input(Cpu& cpu, std::int64_t rows, const MatrixView& w, const T* d_y, bool accumulate,
                           T* d_x) noexcept {
  detail::with_numbers<T>(w, [&](const auto* weight) noexcept {
    gemm(cpu, Trans::no, Trans::no, rows, w.in, w.out, 1.0f, d_y, w.out, weight, w.in, accumulate ? 1.0f : 0.0f, d_x,
         w.in);
  });
}
template <class T, PackedFormat P>
void linear_backward_input(Cpu& cpu, std::int64_t rows, const PackedView<P>& w, const T* d_y, bool accumulate,
                           T* d_x) noexcept {
  packed_backward_input<P>(cpu, rows, w.packed, d_y, w.out, accumulate, d_x, w.in);
}

// d_w (out, in) += d_y^T x
template <class T>
void linear_backward_weight(Cpu& cpu, std::int64_t rows, std::int64_t out, std::int64_t in, const T* d_y, const T* x,
                            float* d_w) noexcept {
  gemm(cpu, Trans::yes, Trans::no, out, in, rows, 1.0f, d_y, out, x, in, 1.0f, d_w, in);
}

// rank_rows (rows, r) = x A^T;  y += s rank_rows B^T. b: (out, r), or (r, out) where `by_rank` is set. Few rows of bf16
// by rank are computed as linear_forward computes few rows.
template <class T>
void low_rank_forward(Cpu& cpu, std::int64_t rows, std::int64_t out, std::int64_t in, std::int64_t r, float s,
                      const T* x, const T* a, const T* b, bool by_rank, T* rank_rows, T* y) noexcept {
  if constexpr (std::is_same_v<T, bf16>)
    if (by_rank && rows <= gemv_rows && in <= gemm_workspace_floats / 9) {
      dense_gemv(cpu, rows, r, in, a, x, rank_rows);
      return add_ranks(cpu, rows, out, r, s, rank_rows, b, y);
    }
  gemm(cpu, Trans::no, Trans::yes, rows, r, in, 1.0f, x, in, a, in, 0.0f, rank_rows, r);
  gemm(cpu, Trans::no, by_rank ? Trans::no : Trans::yes, rows, out, r, s, rank_rows, r, b, by_rank ? out : r, 1.0f, y,
       out);
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

namespace detail {

// f(first, count, rows, stride, thread) for pieces of rows of W as they are, or f32 where it is packed.
template <class F>
void over_weight_rows(Cpu& cpu, const MatrixView& w, F&& f) noexcept {
  constexpr std::int64_t piece = 128;
  with_weight(cpu, w, static_cast<float*>(nullptr), [&](const auto* weight) noexcept {
    cpu.pool->parallel_for((w.out + piece - 1) / piece, [&](std::int64_t i, int thread) noexcept {
      f(i * piece, std::min(piece, w.out - i * piece), weight + i * piece * w.in, w.in, thread);
    });
  });
}
template <PackedFormat P, class F>
void over_weight_rows(Cpu& cpu, const PackedView<P>& w, F&& f) noexcept {
  over_unpacked_rows<P>(cpu, w.packed, f);
}

}  // namespace detail

// out (W.out, r) = W a^T for a (r, W.in), in f32: the inner products that DoRA's factored norm needs. Packed weights
// are multiplied as they are unpacked, a few rows of a at a time, with the same bits.
template <class View>
void weight_times_rows(Cpu& cpu, const View& w, std::int64_t r, const float* a, float* out) noexcept {
  if constexpr (requires { View::format; })
    if (detail::gemv_applies(gemv_rows, w.packed)) {
      for (std::int64_t first = 0; first < r; first += gemv_rows) {
        const std::int64_t rows = std::min(gemv_rows, r - first);
        detail::packed_gemv<View::format>(cpu, rows, w.packed, a + first * w.in, w.in,
                                          [&](std::int64_t j, std::int64_t cols, const float* sums) noexcept {
                                            for (std::int64_t i = 0; i < cols; ++i)
                                              for (std::int64_t k = 0; k < rows; ++k)
                                                out[(j + i) * r + first + k] = sums[k * gemv_piece + i];
                                          });
      }
      return;
    }
  detail::over_weight_rows(
      cpu, w, [&](std::int64_t first, std::int64_t count, const auto* rows, std::int64_t stride, int thread) noexcept {
        gemm_serial(cpu.isa, cpu.gemm_workspace(thread), Trans::no, Trans::yes, count, r, w.in, 1.0f, rows, stride, a,
                    w.in, 0.0f, out + first * r, r);
      });
}

// square[i] = sum_j W[i][j]^2, in f64 and rounded once.
template <class View>
void weight_row_squares(Cpu& cpu, const View& w, float* square) noexcept {
  detail::over_weight_rows(
      cpu, w, [&](std::int64_t first, std::int64_t count, const auto* rows, std::int64_t stride, int) noexcept {
        with_kernels(cpu.isa, [&](auto kernels) noexcept {
          for (std::int64_t i = 0; i < count; ++i)
            square[first + i] = static_cast<float>(kernels.square_row(w.in, rows + i * stride));
        });
      });
}

}  // namespace v0
}  // namespace expert
