// Rows times a weight matrix in any storage, and the adapter's low-rank term, on the CPU. See ops/linear.hpp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

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

// The low-rank term of a product: scale * rows (rows, r) . factor^T for factor (n, r), or . factor for one that lies by
// rank, (r, n).
template <class T>
struct LowRankTerm {
  const T* rows;
  const T* factor;
  bool by_rank;
  std::int64_t r;
  float scale;
};

namespace detail {

// Few rows of bf16 meet the numbers of a matrix as they are unpacked or widened, in vectors.
template <class T>
bool few_rows(std::int64_t rows, std::int64_t in) noexcept {
  return std::is_same_v<T, bf16> && rows <= gemv_rows && in <= gemm_workspace_floats / 9;
}
template <class T>
AddedProduct<T> added_product(const LowRankTerm<T>* term, std::int64_t n) noexcept {
  if (term == nullptr) return {};
  return {term->rows, term->r, {term->factor, term->by_rank ? n : term->r, !term->by_rank}, term->r, term->scale};
}

}  // namespace detail

// y (rows, out) = x W^T (+ term, unless null)
template <class T>
void linear_forward(Cpu& cpu, std::int64_t rows, const MatrixView& w, const T* x, T* y,
                    const LowRankTerm<T>* term = nullptr) noexcept {
  const AddedProduct<T> added = detail::added_product(term, w.out);
  detail::with_numbers<T>(w, [&](const auto* weight) noexcept {
    if constexpr (std::is_same_v<T, bf16>)
      if (detail::few_rows<T>(rows, w.in)) return dense_gemv(cpu, rows, w.out, w.in, weight, x, y, added);
    gemm(cpu, Trans::no, rows, w.out, w.in, 1.0f, x, w.in,
         DenseSource<std::remove_cvref_t<decltype(*weight)>>{weight, w.in, true}, 0.0f, y, w.out, added);
  });
}
template <class T, PackedFormat P>
void linear_forward(Cpu& cpu, std::int64_t rows, const PackedView<P>& w, const T* x, T* y,
                    const LowRankTerm<T>* term = nullptr) noexcept {
  packed_forward<P>(cpu, rows, w.packed, x, w.in, y, w.out, detail::added_product(term, w.out));
}

// d_x (rows, in) = d_y W (+ term, unless null), added to d_x where accumulate is set.
template <class T>
void linear_backward_input(Cpu& cpu, std::int64_t rows, const MatrixView& w, const T* d_y, bool accumulate, T* d_x,
                           const LowRankTerm<T>* term = nullptr) noexcept {
  const AddedProduct<T> added = detail::added_product(term, w.in);
  detail::with_numbers<T>(w, [&](const auto* weight) noexcept {
    gemm(cpu, Trans::no, rows, w.in, w.out, 1.0f, d_y, w.out,
         DenseSource<std::remove_cvref_t<decltype(*weight)>>{weight, w.in, false}, accumulate ? 1.0f : 0.0f, d_x, w.in,
         added);
  });
}
template <class T, PackedFormat P>
void linear_backward_input(Cpu& cpu, std::int64_t rows, const PackedView<P>& w, const T* d_y, bool accumulate, T* d_x,
                           const LowRankTerm<T>* term = nullptr) noexcept {
  packed_backward_input<P>(cpu, rows, w.packed, d_y, w.out, accumulate, d_x, w.in, detail::added_product(term, w.in));
}

// d_w (out, in) += d_y^T x
template <class T>
void linear_backward_weight(Cpu& cpu, std::int64_t rows, std::int64_t out, std::int64_t in, const T* d_y, const T* x,
                            float* d_w) noexcept {
  gemm(cpu, Trans::yes, Trans::no, out, in, rows, 1.0f, d_y, out, x, in, 1.0f, d_w, in);
}

// rank_rows (rows, r) = x A^T. `by_rank`: few rows of bf16 as linear_forward computes few rows.
template <class T>
void low_rank_rows(Cpu& cpu, std::int64_t rows, std::int64_t in, std::int64_t r, const T* x, const T* a, bool by_rank,
                   T* rank_rows) noexcept {
  if constexpr (std::is_same_v<T, bf16>)
    if (by_rank && detail::few_rows<T>(rows, in)) return dense_gemv(cpu, rows, r, in, a, x, rank_rows);
  gemm(cpu, Trans::no, Trans::yes, rows, r, in, 1.0f, x, in, a, in, 0.0f, rank_rows, r);
}

namespace detail {

// d_b (out, r) += s d_y^T rank_rows. Its transpose is the product that reads the rows of d_y as they lie.
template <class T>
void add_rank_gradient(Cpu& cpu, std::int64_t rows, std::int64_t out, std::int64_t r, float s, const T* rank_rows,
                       const T* d_y, float* d_b) noexcept {
  const std::int64_t piece = std::min<std::int64_t>(256, op_workspace_floats / r);
  if (piece == 0) return gemm(cpu, Trans::yes, Trans::no, out, r, rows, s, d_y, out, rank_rows, r, 1.0f, d_b, r);
  cpu.pool->parallel_for((out + piece - 1) / piece, [&](std::int64_t i, int thread) noexcept {
    const std::int64_t j = i * piece, cols = std::min(piece, out - j);
    float* sums = cpu.op_workspace(thread);
    gemm_serial(cpu.isa, cpu.gemm_workspace(thread), Trans::yes, Trans::no, r, cols, rows, s, rank_rows, r, d_y + j,
                out, 0.0f, sums, cols);
    for (std::int64_t c = 0; c < cols; ++c)
      for (std::int64_t k = 0; k < r; ++k) d_b[(j + c) * r + k] += sums[k * cols + c];
  });
}

}  // namespace detail

// d_rank (rows, r) = s d_y B;  d_a += d_rank^T x;  d_b += s d_y^T rank_rows.
template <class T>
void low_rank_backward(Cpu& cpu, std::int64_t rows, std::int64_t out, std::int64_t in, std::int64_t r, float s,
                       const T* x, const T* b, const T* rank_rows, const T* d_y, T* d_rank, float* d_a,
                       float* d_b) noexcept {
  gemm(cpu, Trans::no, Trans::no, rows, r, out, s, d_y, out, b, r, 0.0f, d_rank, r);
  gemm(cpu, Trans::yes, Trans::no, r, in, rows, 1.0f, d_rank, r, x, in, 1.0f, d_a, in);
  detail::add_rank_gradient(cpu, rows, out, r, s, rank_rows, d_y, d_b);
}

// d_x (rows, in) = d_rank A
template <class T>
void low_rank_backward_input(Cpu& cpu, std::int64_t rows, std::int64_t in, std::int64_t r, const T* d_rank, const T* a,
                             T* d_x) noexcept {
  gemm(cpu, Trans::no, Trans::no, rows, in, r, 1.0f, d_rank, r, a, in, 0.0f, d_x, in);
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

// As weight_times_rows, with W as products in pairs have it, in bf16, and each number of a as a sum of two: together
// they have 16 bits. w: W^T, (in, n). False where the scratch is too small.
template <class Source>
bool weight_times_split_rows(Cpu& cpu, const Source& w, std::int64_t n, std::int64_t in, std::int64_t r, const float* a,
                             float* out) noexcept {
  const std::int64_t split_floats = (2 * r * in + 1) / 2,
                     room = (op_workspace_floats - split_floats) / std::max<std::int64_t>(1, 2 * r) / 32 * 32,
                     most = std::min(room, std::int64_t{1024}), threads = cpu.pool->size();
  if (most <= 0) return false;
  // As many pieces as make all threads end together.
  const std::int64_t pieces = (n + most * threads - 1) / (most * threads) * threads,
                     piece = ((n + pieces - 1) / pieces + 31) / 32 * 32;
  cpu.pool->parallel_for((n + piece - 1) / piece, [&](std::int64_t i, int thread) noexcept {
    const std::int64_t j = i * piece, cols = std::min(piece, n - j);
    auto* split = reinterpret_cast<bf16*>(cpu.op_workspace(thread));
    float* sums = cpu.op_workspace(thread) + split_floats;
    with_kernels(cpu.isa, [&](auto kernels) noexcept { kernels.split_row(r * in, a, split, split + r * in); });
    gemm_serial(cpu.isa, cpu.gemm_workspace(thread), Trans::no, 2 * r, cols, in, 1.0f, split, in, w.from_column(j),
                0.0f, sums, cols);
    for (std::int64_t c = 0; c < cols; ++c)
      for (std::int64_t k = 0; k < r; ++k) out[(j + c) * r + k] = sums[k * cols + c] + sums[(r + k) * cols + c];
  });
  return true;
}

}  // namespace detail

// out (W.out, r) = W a^T for a (r, W.in): the inner products that DoRA's factored norm needs. T is the type of the
// activations that W meets elsewhere. In f32, packed weights are multiplied as they are unpacked, a few rows of a at a
// time, with the same bits.
template <class T, class View>
void weight_times_rows(Cpu& cpu, const View& w, std::int64_t r, const float* a, float* out) noexcept {
  if constexpr (std::is_same_v<T, bf16>)
    if (with_pair_kernels(cpu.isa, [](auto) noexcept {})) {
      if constexpr (requires { View::format; }) {
        if (detail::weight_times_split_rows(cpu, PackedSource<bf16, View::format>{w.packed, true}, w.out, w.in, r, a,
                                            out))
          return;
      } else if (w.storage == Storage::bf16) {
        if (detail::weight_times_split_rows(cpu, DenseSource<bf16>{static_cast<const bf16*>(w.data), w.in, true}, w.out,
                                            w.in, r, a, out))
          return;
      }
    }
  if constexpr (requires { View::format; })
    if (detail::gemv_applies(gemv_rows, w.packed)) {
      for (std::int64_t first = 0; first < r; first += gemv_rows) {
        const std::int64_t rows = std::min(gemv_rows, r - first);
        detail::packed_gemv<View::format>(cpu, rows, w.packed, a + first * w.in, w.in,
                                          [&](std::int64_t j, std::int64_t cols, const float* sums, auto) noexcept {
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
  if constexpr (requires { View::format; })
    if (w.packed.whole_blocks())
      return cpu.pool->parallel_for(w.packed.strips(), [&](std::int64_t strip, int) noexcept {
        float rows[16];
        with_kernels(cpu.isa,
                     [&](auto kernels) { kernels.template square_strip<View::format>(w.packed, strip, rows); });
        std::copy_n(rows, std::min<std::int64_t>(16, w.out - strip * 16), square + strip * 16);
      });
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
