// Rows times a packed weight matrix (ops/packed.hpp), read where it lies: y = x W^T and d_x = d_y W; and few rows of
// bf16 times one that is not packed.
//
// Up to gemv_rows rows are multiplied as the codes are unpacked: a row has the same bits alone and among them. In bf16
// the weights are not rounded to it and sums are f32; AVX2 multiplies codes in whole numbers, to which it rounds x (and
// nf4's levels) with 13 to 15 bits. More rows go through gemm on panels of weights rounded to T. In f32 both are one
// arithmetic: the bits are those of the unpacked matrix in gemm, for any number of rows.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>

#include "expert/cpu/gemm.hpp"
#include "expert/ops/packed.hpp"

namespace expert {
inline namespace v0 {

namespace detail {

// x (rows, k) as f32, transposed: (a multiple of 8, gemv_padded(rows)), zeros where there is nothing.
template <class T>
void widen_rows(Cpu& cpu, std::int64_t rows, std::int64_t k, const T* x, std::int64_t ldx, float* out) noexcept {
  if (rows == 1) {
    with_kernels(cpu.isa, [&](auto kernels) noexcept { kernels.convert_row(k, x, out); });
    std::fill_n(out + k, -k & 7, 0.0f);
    return;
  }
  const std::int64_t padded = gemv_padded(rows);
  for (std::int64_t j = 0; j < (k + 7) / 8 * 8; ++j)
    for (std::int64_t r = 0; r < padded; ++r) *out++ = j < k && r < rows ? static_cast<float>(x[r * ldx + j]) : 0.0f;
}

inline bool gemv_applies(std::int64_t rows, const PackedMatrix& w) {
  return rows <= gemv_rows && w.whole_blocks() && gemv_rows * (w.in + 8) <= gemm_workspace_floats;
}

// Which threads have x in their scratch already: each widens it for itself with its first piece.
class WidenedRows {
 public:
  bool first_of(int thread) noexcept { return !std::exchange(done_[thread], true); }

 private:
  bool done_[max_threads] = {};
};

// put(j, cols, sums, kernels) for every piece of columns [j, j + cols) of x W^T; sums: rows of gemv_piece.
template <PackedFormat F, class T, class Put>
void packed_gemv(Cpu& cpu, std::int64_t rows, const PackedMatrix& w, const T* x, std::int64_t ldx, Put&& put) noexcept {
  WidenedRows widened;
  cpu.pool->parallel_for((w.out + gemv_piece - 1) / gemv_piece, [&](std::int64_t piece, int thread) noexcept {
    float* wide = cpu.gemm_workspace(thread);
    alignas(64) float sums[gemv_rows * gemv_piece];
    const std::int64_t j = piece * gemv_piece, cols = std::min(gemv_piece, w.out - j);
    with_kernels(cpu.isa, [&](auto kernels) noexcept {
      constexpr bool exact = std::is_same_v<T, float>;
      if (widened.first_of(thread)) {
        if constexpr (decltype(kernels)::template in_whole_numbers<F, exact>)
          kernels.template round_to_whole<F>(rows, gemv_padded(rows), w.in, w.group_shift, x, ldx, wide);
        else
          widen_rows(cpu, rows, w.in, x, ldx, wide);
      }
      kernels.template gemv<F, exact>(w, j, rows, wide, sums);
      put(j, cols, sums, kernels);
    });
  });
}

}  // namespace detail

// y (rows, out) = x W^T + added for W (out, in) of bf16 as a checkpoint has it, rows <= gemv_rows: as for packed
// weights, a row has the same bits alone and among them. in <= gemm_workspace_floats / 9.
template <class T>
void dense_gemv(Cpu& cpu, std::int64_t rows, std::int64_t out, std::int64_t in, const T* w, const T* x, T* y,
                const AddedProduct<T>& added = {}) noexcept {
  static_assert(std::is_same_v<T, bf16>);
  detail::WidenedRows widened;
  cpu.pool->parallel_for((out + gemv_piece - 1) / gemv_piece, [&](std::int64_t piece, int thread) noexcept {
    with_kernels(cpu.isa, [&](auto kernels) noexcept {
      float* wide = cpu.gemm_workspace(thread);
      if (widened.first_of(thread)) kernels.widen_pairs(rows, gemv_padded(rows), in, x, in, wide);
      float sums[gemv_rows * gemv_piece];
      const std::int64_t j = piece * gemv_piece, cols = std::min(gemv_piece, out - j);
      const auto multiply = [&]<int R>(std::integral_constant<int, R>) noexcept {
        kernels.template dots<R>(cols, in, w + j * in, w + (j + 8 / R) * in, in, wide, sums, gemv_piece);
      };
      if (rows == 1)
        multiply(std::integral_constant<int, 1>{});
      else if (rows <= 4)
        multiply(std::integral_constant<int, 4>{});
      else
        multiply(std::integral_constant<int, 8>{});
      for (std::int64_t r = 0; r < rows; ++r)
        kernels.finish_row(cols, sums + r * gemv_piece, added.from(r, j), y + r * out + j);
    });
  });
}

// use(first, count, rows, stride, thread) for pieces of consecutive rows of W, as f32, `stride` numbers apart; the
// pieces are spread over the pool. in <= op_workspace_floats / 16.
template <PackedFormat F, class Use>
void over_unpacked_rows(Cpu& cpu, const PackedMatrix& w, Use&& use) noexcept {
  const std::int64_t stride = (w.in + 15) / 16 * 16,
                     strips = std::clamp<std::int64_t>(op_workspace_floats / (16 * stride), 1, 8);
  cpu.pool->parallel_for((w.strips() + strips - 1) / strips, [&](std::int64_t piece, int thread) noexcept {
    float* rows = cpu.op_workspace(thread);
    const std::int64_t first = piece * strips, end = std::min(first + strips, w.strips());
    with_kernels(cpu.isa, [&](auto kernels) noexcept {
      for (std::int64_t s = first; s < end; ++s)
        kernels.template unpack_strip<F>(w, s, rows + (s - first) * 16 * stride, stride);
    });
    use(first * 16, std::min(end * 16, w.out) - first * 16, rows, stride, thread);
  });
}

// y (rows, out) = x W^T + added for w packed in format F, rows of x and y ldx and ldy numbers apart. T: f32 or bf16, TY
// likewise.
template <PackedFormat F, class T, class TY>
void packed_forward(Cpu& cpu, std::int64_t rows, const PackedMatrix& w, const T* x, std::int64_t ldx, TY* y,
                    std::int64_t ldy, const AddedProduct<T>& added = {}) noexcept {
  if (rows <= 0 || w.out <= 0) return;
  if (!detail::gemv_applies(rows, w))
    return gemm(cpu, Trans::no, rows, w.out, w.in, 1.0f, x, ldx, PackedSource<T, F>{w, true}, 0.0f, y, ldy, added);
  detail::packed_gemv<F>(cpu, rows, w, x, ldx,
                         [&](std::int64_t j, std::int64_t cols, const float* sums, auto kernels) noexcept {
                           for (std::int64_t r = 0; r < rows; ++r, sums += gemv_piece) {
                             if constexpr (std::is_same_v<T, bf16>)
                               kernels.finish_row(cols, sums, added.from(r, j), y + r * ldy + j);
                             else
                               kernels.convert_row(cols, sums, y + r * ldy + j);
                           }
                         });
  if constexpr (std::is_same_v<T, float>)  // with the bits that it has for many rows
    if (added.k > 0)
      gemm(cpu, Trans::no, rows, w.out, added.k, added.scale, added.left, added.ld, added.right, 1.0f, y, ldy);
}

// d_x (rows, in) = d_y W + added, added to d_x where accumulate is set.
template <PackedFormat F, class T, class TX>
void packed_backward_input(Cpu& cpu, std::int64_t rows, const PackedMatrix& w, const T* d_y, std::int64_t ld_dy,
                           bool accumulate, TX* d_x, std::int64_t ld_dx, const AddedProduct<T>& added = {}) noexcept {
  gemm(cpu, Trans::no, rows, w.in, w.out, 1.0f, d_y, ld_dy, PackedSource<T, F>{w, false}, accumulate ? 1.0f : 0.0f, d_x,
       ld_dx, added);
}

}  // namespace v0
}  // namespace expert
