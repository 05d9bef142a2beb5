// One product of bf16 in pairs of k, cut into panels of B, rows of A and slices of k that the caches hold
// (pair_kernels.inc packs them, pair_products.inc multiplies blocks of them).
#pragma once
#include <cstdint>

#include "expert/core/dtype.hpp"
#include "expert/cpu/kernels.hpp"

namespace expert {
inline namespace v0 {

// C (m, n) = alpha (op(A) B + added) + beta C, on one thread, with the kernels K. An element depends on its row of A,
// its column of B and k alone: pairs are added in the order of k.
template <class K, class B, class TC>
class PairGemm {
 public:
  // rows_of_a: what pack_block makes of all rows, behind each other, or null. scratch: gemm_workspace_floats.
  PairGemm(bool ta, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const bf16* a, std::int64_t lda,
           const B& b, float beta, TC* c, std::int64_t ldc, const AddedProduct<bf16>& added,
           const std::uint32_t* rows_of_a, float* scratch) noexcept
      : ta_(ta),
        deep_(k * (n < pair_panel_columns ? (n + 31) / 32 * 32 : pair_panel_columns) > pair_depth * pair_panel_columns),
        m_(m),
        n_(n),
        k_(k),
        more_((added.k + 31) / 32),
        a_(a),
        lda_(lda),
        b_(b),
        c_(c),
        ldc_(ldc),
        added_(added),
        rows_of_a_(rows_of_a),
        beside_{{alpha, beta, ldc}} {
    const std::int64_t most = deep_ ? pair_deep_columns : pair_panel_columns;
    panel_n_ = most < n ? most : (n + 31) / 32 * 32;
    tile_m_ = deep_ ? pair_deep_sum_floats / panel_n_ / 32 * 32 : m;
    slice_ = reinterpret_cast<std::uint32_t*>(scratch);
    sums_ = scratch + pair_slice_floats;
    panel_ = reinterpret_cast<std::uint32_t*>(sums_ + (deep_ ? pair_deep_sum_floats : 2 * pair_sum_floats));
  }

  void run() noexcept {
    const std::int64_t part_k = deep_ ? pair_deep_depth : k_;
    for (std::int64_t i = 0; i < m_; i += tile_m_)
      for (std::int64_t j = 0; j < n_; j += panel_n_)
        for (std::int64_t p = 0; p < k_; p += part_k) {
          const std::int64_t depth = k_ - p < part_k ? k_ - p : part_k;
          const Part part{i,
                          m_ - i < tile_m_ ? m_ : i + tile_m_,
                          j,
                          n_ - j < panel_n_ ? n_ - j : panel_n_,
                          p,
                          depth,
                          p + depth >= k_};
          multiply(part, pack(part));
        }
  }

  // Rows [i, i + rows) of A as tiles, rows at most 32: pair_block_dwords of them.
  void pack_block(std::int64_t i, std::int64_t rows, std::uint32_t* to) const noexcept {
    pack_slice(i, rows, 0, k_, to);
  }

 private:
  // What one panel of B is multiplied with: rows [i, i_end), columns [j, j + cols), k [p, p + depth).
  struct Part {
    std::int64_t i, i_end, j, cols, p, depth;
    bool last;
  };
  // Strips of 16 columns of B, `size` dwords behind each other.
  struct Strips {
    const std::uint32_t* tiles;
    std::int64_t size;
  };

  // The panel of a part, and behind it that of the added product: k goes on there.
  Strips pack(const Part& at) noexcept {
    if (more_ == 0)
      if (const std::uint32_t* there = K::pairs_in_place(b_, at.j, at.p)) return {there, K::in_place_strip(b_)};
    const std::int64_t tiles = (at.depth + 31) / 32, size = (tiles + (at.last ? more_ : 0)) * 256;
    K::pack_panel(b_, at.j, at.cols, at.p, at.depth, panel_, size);
    if (at.last && more_ > 0) {
      std::uint32_t* to = panel_ + tiles * 256;
      K::pack_panel(added_.right, at.j, at.cols, 0, added_.k, to, size);
      for (std::int64_t j = 0; added_.scale != 1 && j < at.cols; j += 16)
        K::scale_tiles(more_ * 256, added_.scale, to + j / 16 * size);
    }
    return {panel_, size};
  }
  const bf16* left(std::int64_t i, std::int64_t k) const noexcept {
    return ta_ ? a_ + k * lda_ + i : a_ + i * lda_ + k;
  }
  // Rows [i, i + rows) of A, k [p, p + depth), and behind them those of the added product where that is the end of k.
  void pack_slice(std::int64_t i, std::int64_t rows, std::int64_t p, std::int64_t depth,
                  std::uint32_t* to) const noexcept {
    K::pack_pair_rows(ta_, left(i, p), lda_, rows, depth, to);
    if (p + depth >= k_ && more_ > 0)
      K::pack_pair_rows(false, added_.left + i * added_.ld, added_.ld, rows, added_.k, to + (depth + 31) / 32 * 512);
  }
  // Where a tile of A is used once it is read from where it lies.
  bool as_it_lies(const bf16* rows_at, std::int64_t rows, std::int64_t depth) const noexcept {
    return !ta_ && more_ == 0 && n_ <= 32 && rows == 32 && depth % 32 == 0 && lda_ % 2 == 0 &&
           reinterpret_cast<std::uintptr_t>(rows_at) % 4 == 0;
  }

  void multiply(const Part& at, const Strips& strips) noexcept {
    for (std::int64_t i = at.i, block = 0; i < at.i_end; i += 32, ++block) {
      const std::int64_t rows = at.i_end - i < 32 ? at.i_end - i : 32;
      float* sums = sums_ + (deep_ ? block * panel_n_ * 32 : block % 2 * pair_sum_floats);
      for (std::int64_t p = 0; p < at.depth; p += pair_slice) {
        const std::int64_t depth = at.depth - p < pair_slice ? at.depth - p : pair_slice;
        const std::int64_t tiles = (depth + 31) / 32 + (at.last && p + depth >= at.depth ? more_ : 0);
        const std::uint32_t* from = slice_;
        isa::TileLayout from_at = isa::packed_rows;
        if (rows_of_a_ != nullptr) {
          from = rows_of_a_ + i / 32 * pair_block_dwords(k_, added_.k) + p * 16;
        } else if (const bf16* rows_at = left(i, at.p + p); as_it_lies(rows_at, rows, depth)) {
          from = reinterpret_cast<const std::uint32_t*>(rows_at), from_at = {lda_ / 2, 16, 8 * lda_};
        } else {
          pack_slice(i, rows, at.p + p, depth, slice_);
        }
        beside_.next_rows = from + tiles * 512;
        for (std::int64_t j = 0; j < at.cols; j += 32) {
          const std::uint32_t *first = strips.tiles + j / 16 * strips.size + p * 8,
                              *second = j + 16 < at.cols ? first + strips.size : nullptr;
          product_.multiply(rows, tiles, from, from_at, first, second, sums + j * 32, isa::packed_sums, at.p + p == 0,
                            beside_);
        }
      }
      beside_.done.finish();
      if (at.last) beside_.done.begin(sums, rows, at.cols, c_ + i * ldc_ + at.j, (1024 + at.depth - 1) / at.depth);
    }
    beside_.done.finish();
  }

  bool ta_, deep_;
  std::int64_t m_, n_, k_, more_, panel_n_, tile_m_;
  const bf16* a_;
  std::int64_t lda_;
  const B& b_;
  TC* c_;
  std::int64_t ldc_;
  const AddedProduct<bf16>& added_;
  const std::uint32_t* rows_of_a_;
  std::uint32_t *slice_, *panel_;
  float* sums_;
  typename K::template CopiesBeside<TC> beside_;
  typename K::Product product_;
};

}  // namespace v0
}  // namespace expert
