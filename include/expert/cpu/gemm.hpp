// Two matrices -> C = alpha op(A) op(B) + beta C, the one dense product of the CPU: f32 or bf16 in and out, sums in
// f32.
//
// op(A) is (m, k), op(B) is (k, n), C is (m, n); all row-major, rows lda, ldb, ldc numbers apart; Trans::yes means that
// the matrix is stored transposed, A as (k, m), B as (n, k): y = x W^T with torch's weights is gemm(cpu, Trans::no,
// Trans::yes, ...). C overlaps neither A nor B. beta == 0 never reads C, so NaN in it does not survive. C is rounded to
// its type once.
//
// Determinism: an element is a function of its row of op(A), its column of op(B), k and the instruction set. It has the
// same bits at any thread count and whatever m and n are: a row multiplied alone equals the same row in a batch.
#pragma once
#include <algorithm>
#include <cstdint>

#include "expert/cpu/device.hpp"
#include "expert/cpu/kernels.hpp"
#include "expert/cpu/pair_gemm.hpp"

namespace expert {
inline namespace v0 {

enum class Trans : bool { no, yes };

// How C is cut into tiles, each computed by one thread: `rows` x `cols` tiles of at most (tile_m, tile_n).
struct GemmGrid {
  std::int64_t tile_m, tile_n, rows, cols;
};

// The cut whose slowest thread does least. Wide tiles pack less, many tiles spread better.
constexpr GemmGrid gemm_grid(std::int64_t m, std::int64_t n, int threads, std::int64_t row_step,
                             std::int64_t col_step) {
  const auto up = [](std::int64_t x, std::int64_t step) { return (x + step - 1) / step * step; };
  GemmGrid best{};
  std::int64_t least = -1;
  for (std::int64_t split_m = 1; split_m <= threads; split_m += std::max<std::int64_t>(1, split_m / 4)) {
    const std::int64_t parts = std::max(split_m, (m + gemm_tile_rows - 1) / gemm_tile_rows);
    const std::int64_t tile_m = std::min(gemm_tile_rows, up((m + parts - 1) / parts, row_step));
    const std::int64_t rows = (m + tile_m - 1) / tile_m;
    const std::int64_t most_n = gemm_tile_floats / std::min(tile_m, m) / col_step * col_step;
    for (std::int64_t split_n = 1; split_n <= threads; split_n += std::max<std::int64_t>(1, split_n / 4)) {
      const std::int64_t tile_n = std::min(most_n, up((n + split_n - 1) / split_n, col_step));
      const std::int64_t cols = (n + tile_n - 1) / tile_n;
      const std::int64_t turns = (rows * cols + threads - 1) / threads;
      // Per step of k: a multiply-add of each element of the tile, and eight times that to pack an element of A or B.
      const std::int64_t cost = turns * (tile_m * tile_n + 8 * (tile_m + tile_n));
      if (least < 0 || cost < least) least = cost, best = {tile_m, tile_n, rows, cols};
    }
  }
  return best;
}

// The same for products in pairs. Against a multiply-add of AMX, an element of B costs 72 to unpack and one of A 20 to
// fetch, once for each panel of B.
constexpr std::int64_t pair_cost(std::int64_t tile_m, std::int64_t tile_n) {
  const std::int64_t panels = (tile_n + pair_panel_columns - 1) / pair_panel_columns;
  return tile_m * tile_n + 72 * tile_n + 20 * tile_m * panels;
}
constexpr std::int64_t pair_part(std::int64_t x, std::int64_t parts) {
  return ((x + parts - 1) / parts + 31) / 32 * 32;
}

// One tile for each thread.
constexpr GemmGrid pair_grid(std::int64_t m, std::int64_t n, int threads) {
  GemmGrid best{};
  std::int64_t least = -1;
  for (std::int64_t split_m = 1; split_m <= threads; ++split_m) {
    const std::int64_t tile_m = pair_part(m, split_m), tile_n = pair_part(n, threads / split_m),
                       cost = pair_cost(tile_m, tile_n);
    if (least < 0 || cost < least)
      least = cost, best = {tile_m, tile_n, (m + tile_m - 1) / tile_m, (n + tile_n - 1) / tile_n};
  }
  return best;
}
// Tiles of one panel, more than there are threads: those that are ahead take from the others.
constexpr GemmGrid pair_panel_grid(std::int64_t m, std::int64_t n, int threads) {
  GemmGrid best{};
  std::int64_t least = -1;
  for (std::int64_t split_m = 1; split_m <= threads; ++split_m)
    for (std::int64_t width = 32; width <= pair_panel_columns; width *= 2) {
      const std::int64_t tile_m = pair_part(m, split_m), tile_n = std::min(width, n), rows = (m + tile_m - 1) / tile_m,
                         cols = (n + tile_n - 1) / tile_n, turns = (rows * cols + threads - 1) / threads;
      // The last tile ends half a turn late in the mean.
      const std::int64_t cost = (2 * turns + 1) * pair_cost(tile_m, tile_n);
      if (least < 0 || cost < least) least = cost, best = {tile_m, tile_n, rows, cols};
    }
  return best;
}

template <class TC>
void gemm_scale(std::int64_t m, std::int64_t n, float beta, TC* c, std::int64_t ldc) noexcept {
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j)
      c[i * ldc + j] = beta == 0 ? TC(0.0f) : TC(beta * static_cast<float>(c[i * ldc + j]));
}

// Whether the sets that have instructions for pairs of bf16 use them for a product with this right side.
template <class TA, class B>
inline constexpr bool multiplies_pairs = false;
template <>
inline constexpr bool multiplies_pairs<bf16, DenseSource<bf16>> = true;
template <PackedFormat F>
inline constexpr bool multiplies_pairs<bf16, PackedSource<bf16, F>> = true;

// On the calling thread alone, for use inside a task; B from any source (kernels.hpp). `workspace` has
// gemm_workspace_floats. `added` is part of the sums of a product in pairs; others ignore it.
template <class TA, class B, class TC>
void gemm_serial(Isa set, float* workspace, Trans ta, std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
                 const TA* a, std::int64_t lda, const B& b, float beta, TC* c, std::int64_t ldc,
                 const AddedProduct<TA>& added = {}) noexcept {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) return gemm_scale(m, n, beta, c, ldc);
  if constexpr (multiplies_pairs<TA, B>)
    if (with_pair_kernels(set, [&](auto kernels) noexcept {
          using K = decltype(kernels);
          PairGemm<K, B, TC>(ta == Trans::yes, m, n, k, alpha, a, lda, b, beta, c, ldc, added, nullptr, workspace)
              .run();
        }))
      return;
  with_kernels(set, [&](auto kernels) noexcept {
    using K = decltype(kernels);
    const std::int64_t tile_m = std::min(m, gemm_tile_rows);
    const std::int64_t tile_n = std::min(n, gemm_tile_floats / tile_m / K::panel * K::panel);
    for (std::int64_t i = 0; i < m; i += tile_m)
      for (std::int64_t j = 0; j < n; j += tile_n)
        K::gemm_tile(ta == Trans::yes, std::min(tile_m, m - i), std::min(tile_n, n - j), k, alpha,
                     ta == Trans::yes ? a + i : a + i * lda, lda, b.from_column(j), beta, c + i * ldc + j, ldc,
                     workspace);
  });
}
template <class TA, class TB, class TC>
void gemm_serial(Isa set, float* workspace, Trans ta, Trans tb, std::int64_t m, std::int64_t n, std::int64_t k,
                 float alpha, const TA* a, std::int64_t lda, const TB* b, std::int64_t ldb, float beta, TC* c,
                 std::int64_t ldc) noexcept {
  gemm_serial(set, workspace, ta, m, n, k, alpha, a, lda, DenseSource<TB>{b, ldb, tb == Trans::yes}, beta, c, ldc);
}

// In pairs, by all threads. Where a row of A meets several panels of B it is packed once for all. False where the set
// has no such instructions.
template <class B, class TC>
bool pair_gemm(Cpu& cpu, Trans ta, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const bf16* a,
               std::int64_t lda, const B& b, float beta, TC* c, std::int64_t ldc,
               const AddedProduct<bf16>& added) noexcept {
  return with_pair_kernels(cpu.isa, [&](auto kernels) noexcept {
    using K = decltype(kernels);
    const auto tile = [&](std::int64_t i, std::int64_t rows, std::int64_t j, std::int64_t cols, const B& columns,
                          const AddedProduct<bf16>& more, const std::uint32_t* packed, int thread) noexcept {
      return PairGemm<K, B, TC>(ta == Trans::yes, rows, cols, k, alpha, ta == Trans::yes ? a + i : a + i * lda, lda,
                                columns, beta, c + i * ldc + j, ldc, more, packed, cpu.gemm_workspace(thread));
    };
    const bool once = k <= pair_depth && n > pair_panel_columns;
    const std::int64_t block = pair_block_dwords(k, added.k), pass_m = once ? shared_workspace_floats / block * 32 : m;
    auto* packed = once ? reinterpret_cast<std::uint32_t*>(cpu.shared_workspace()) : nullptr;
    for (std::int64_t first = 0; first < m; first += pass_m) {
      const std::int64_t rows = std::min(pass_m, m - first);
      if (once)
        cpu.pool->parallel_for((rows + 31) / 32, [&](std::int64_t i, int thread) noexcept {
          const AddedProduct<bf16> more = added.from(first, 0);
          tile(first, rows, 0, n, b, more, nullptr, thread)
              .pack_block(i * 32, std::min<std::int64_t>(32, rows - i * 32), packed + i * block);
        });
      const GemmGrid grid = once ? pair_panel_grid(rows, n, cpu.pool->size()) : pair_grid(rows, n, cpu.pool->size());
      cpu.pool->parallel_for(grid.rows * grid.cols, [&](std::int64_t index, int thread) noexcept {
        const std::int64_t i = index / grid.cols * grid.tile_m, j = index % grid.cols * grid.tile_n;
        const B columns = b.from_column(j);
        const AddedProduct<bf16> more = added.from(first + i, j);
        tile(first + i, std::min(grid.tile_m, rows - i), j, std::min(grid.tile_n, n - j), columns, more,
             once ? packed + i / 32 * block : nullptr, thread)
            .run();
      });
    }
  });
}

// C = alpha (op(A) op(B) + added) + beta C. In pairs it is one product over a longer k, which rounds C once; otherwise
// `added` goes to the C of the first.
template <class TA, class B, class TC>
void gemm(Cpu& cpu, Trans ta, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const TA* a,
          std::int64_t lda, const B& b, float beta, TC* c, std::int64_t ldc,
          const AddedProduct<TA>& added = {}) noexcept {
  if (m <= 0 || n <= 0) return;
  const bool pairs = multiplies_pairs<TA, B> && with_pair_kernels(cpu.isa, [](auto) noexcept {});
  if (added.k > 0 && (!pairs || k <= 0 || added.k > pair_added_depth)) {
    gemm(cpu, ta, m, n, k, alpha, a, lda, b, beta, c, ldc);
    return gemm(cpu, Trans::no, m, n, added.k, alpha * added.scale, added.left, added.ld, added.right, 1.0f, c, ldc);
  }
  constexpr std::int64_t worth_waking = std::int64_t{1}
                                        << 17;  // multiply-adds: about the time that it takes to wake a thread
  if (k <= 0 || m * n <= worth_waking / k || cpu.pool->in_task())
    return cpu.pool->parallel_for(1, [&](std::int64_t, int thread) noexcept {
      gemm_serial(cpu.isa, cpu.gemm_workspace(thread), ta, m, n, k, alpha, a, lda, b, beta, c, ldc, added);
    });
  if constexpr (multiplies_pairs<TA, B>)
    if (pair_gemm(cpu, ta, m, n, k, alpha, a, lda, b, beta, c, ldc, added)) return;
  const auto [row_step, col_step] = with_kernels(cpu.isa, [](auto kernels) noexcept {
    return std::pair<std::int64_t, std::int64_t>(decltype(kernels)::gemm_rows, decltype(kernels)::panel);
  });
  const GemmGrid grid = gemm_grid(m, n, cpu.pool->size(), row_step, col_step);
  cpu.pool->parallel_for(grid.rows * grid.cols, [&](std::int64_t tile, int thread) noexcept {
    const std::int64_t i = tile / grid.cols * grid.tile_m, j = tile % grid.cols * grid.tile_n;
    gemm_serial(cpu.isa, cpu.gemm_workspace(thread), ta, std::min(grid.tile_m, m - i), std::min(grid.tile_n, n - j), k,
                alpha, ta == Trans::yes ? a + i : a + i * lda, lda, b.from_column(j), beta, c + i * ldc + j, ldc);
  });
}
template <class TA, class TB, class TC>
void gemm(Cpu& cpu, Trans ta, Trans tb, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const TA* a,
          std::int64_t lda, const TB* b, std::int64_t ldb, float beta, TC* c, std::int64_t ldc) noexcept {
  gemm(cpu, ta, m, n, k, alpha, a, lda, DenseSource<TB>{b, ldb, tb == Trans::yes}, beta, c, ldc);
}

}  // namespace v0
}  // namespace expert
