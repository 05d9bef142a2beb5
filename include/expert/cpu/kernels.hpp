// One text of kernels -> one copy for each instruction set, all in every build: isa::Scalar, isa::Avx2, isa::Avx512.
//
// The copies are classes inside pragma target regions: functions, templates and lambdas in them all inherit the target,
// which an attribute on each function would not give to lambdas. No file is compiled with -march: that would leak wide
// instructions into inline functions that older CPUs run too. So kernels call nothing from std.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "expert/core/dtype.hpp"
#include "expert/cpu/device.hpp"
#include "expert/cpu/isa.hpp"
#include "expert/cpu/tiles.hpp"
#include "expert/ops/adamw.hpp"
#include "expert/ops/dropout.hpp"
#include "expert/ops/packed.hpp"

namespace expert {
inline namespace v0 {

inline constexpr std::int64_t gemm_k_block = 256;  // a panel of B, 32 columns wide, stays in the first-level cache
inline constexpr std::int64_t gemm_a_stride =
    272;  // 17 cache lines: the rows of a register tile fall into distinct sets
inline constexpr std::int64_t gemm_tile_rows = 504;        // a multiple of every register tile's height
inline constexpr std::int64_t gemm_tile_floats = 116'864;  // f32 sums of an output tile

inline constexpr std::int64_t gemv_rows = 8;  // rows that are multiplied straight from packed weights
constexpr std::int64_t gemv_padded(std::int64_t rows) { return rows == 1 ? 1 : rows <= 4 ? 4 : gemv_rows; }

inline constexpr std::int64_t gemv_piece = 64;  // columns of one call

// Products of bf16 in pairs of k (pair_products.inc): how much of A, B and C is at work at once. In numbers of k or of
// floats' worth of bytes.
inline constexpr std::int64_t pair_slice = 512;          // k of A whose tiles stay in the first-level cache
inline constexpr std::int64_t pair_depth = 2048;         // k of B in the second-level cache, more of fewer columns
inline constexpr std::int64_t pair_panel_columns = 256;  // columns of B there
inline constexpr std::int64_t pair_sum_floats = pair_panel_columns / 32 * 1'024;  // of 32 rows, in blocks of 32 x 32
inline constexpr std::int64_t pair_added_depth = 128;                             // k of an AddedProduct at most
inline constexpr std::int64_t pair_slice_floats = 16 * (pair_slice + pair_added_depth);
static_assert(pair_slice_floats + 2 * pair_sum_floats + (pair_depth + 32 + pair_added_depth) * pair_panel_columns / 2 <=
              gemm_workspace_floats);
// Where k is deeper than that, the sums of a tile of C wait for the next part of k: 512 rows x 512 columns, or the
// like.
inline constexpr std::int64_t pair_deep_depth = 512, pair_deep_columns = 512;
inline constexpr std::int64_t pair_deep_sum_floats = 256 * 1'024;
static_assert(pair_slice_floats + pair_deep_sum_floats + (pair_deep_depth + pair_added_depth) * pair_deep_columns / 2 <=
              gemm_workspace_floats);
// 32 rows of A, all of k and of the added product, in tiles.
constexpr std::int64_t pair_block_dwords(std::int64_t k, std::int64_t added_k) {
  return ((k + 31) / 32 + (added_k + 31) / 32) * 512;
}

// The right side B (k, n) of a product, as numbers: row-major, or stored transposed, (n, k).
template <class T>
struct DenseSource {
  const T* data;
  std::int64_t ld;
  bool transposed;
  DenseSource from_column(std::int64_t j) const { return {transposed ? data + j * ld : data + j, ld, transposed}; }
};
// The same, packed in format F: W^T where `transposed` is set, else W. A left side of T meets values rounded to T.
template <class T, PackedFormat F>
struct PackedSource {
  const PackedMatrix& w;
  bool transposed;
  std::int64_t column = 0;
  PackedSource from_column(std::int64_t j) const { return {w, transposed, column + j}; }
};

// What a product (m, n) adds to its sums before they are rounded: scale * left (m, k) . right (k, n); nothing where k
// is 0.
template <class T>
struct AddedProduct {
  const T* left = nullptr;
  std::int64_t ld = 0;
  DenseSource<T> right{};
  std::int64_t k = 0;
  float scale = 0;

  // The part of it for the tile of the product that begins at (i, j).
  AddedProduct from(std::int64_t i, std::int64_t j) const {
    return k == 0 ? AddedProduct{} : AddedProduct{left + i * ld, ld, right.from_column(j), k, scale};
  }
};

namespace isa {

struct Scalar {  // SSE2, NEON, or whatever the compiler makes of four floats
  using Kernels = Scalar;
  static constexpr int width = 4, gemm_rows = 4;
#include "expert/cpu/simd.inc"

#include "expert/cpu/gemm_kernels.inc"
#include "expert/cpu/packed_kernels.inc"
#include "expert/cpu/vector_kernels.inc"

#include "expert/cpu/attention_kernels.inc"
};

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx,avx2,fma")
#endif
struct Avx2InFloats {
  using Kernels = Avx2InFloats;
  static constexpr int width = 8, gemm_rows = 6;
#include "expert/cpu/simd.inc"

#include "expert/cpu/gemm_kernels.inc"
#include "expert/cpu/packed_kernels.inc"
#include "expert/cpu/vector_kernels.inc"

#include "expert/cpu/attention_kernels.inc"
};
struct Avx2 : Avx2InFloats {
  using InFloats = Avx2InFloats;
#include "expert/cpu/whole_kernels.inc"
};
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx,avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx,avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")
#endif
// Numbers of bf16 that vcvtneps2bf16 rounds: as `bf16`, but those below 2^-126 become zero.
struct HardwareBf16 {
  std::uint16_t bits;
};
struct Avx512 {
  using Kernels = Avx512;
  static constexpr int width = 16, gemm_rows = 14;
#include "expert/cpu/simd.inc"

  [[gnu::always_inline]] static inline VH narrow_in_hardware(V v) {
    VH bits;
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(bits) : "v"(v));
    return bits;
  }
  [[gnu::always_inline]] static inline V rounded_as(const HardwareBf16*, V v) { return widen(narrow_in_hardware(v)); }
  [[gnu::always_inline]] static inline V load(const HardwareBf16* p) { return load(reinterpret_cast<const bf16*>(p)); }
  [[gnu::always_inline]] static inline V load_partial(const HardwareBf16* p, std::int64_t n) {
    return load_partial(reinterpret_cast<const bf16*>(p), n);
  }
  [[gnu::always_inline]] static inline void store(HardwareBf16* p, V v) {
    *reinterpret_cast<VH*>(p) = narrow_in_hardware(v);
  }
  [[gnu::always_inline]] static inline void store_partial(HardwareBf16* p, V v, std::int64_t n) {
    store_words(p, narrow_in_hardware(v), n);
  }

#include "expert/cpu/gemm_kernels.inc"
#include "expert/cpu/packed_kernels.inc"
#include "expert/cpu/vector_kernels.inc"

#include "expert/cpu/attention_kernels.inc"
};
// Rows of bf16 are those of Avx512, rounded by the instruction for it.
struct Avx512Bf16 : Avx512 {
  template <class T>
  static T&& in_hardware(T&& x) {
    return static_cast<T&&>(x);
  }
  static HardwareBf16* in_hardware(bf16* x) { return reinterpret_cast<HardwareBf16*>(x); }
  static const HardwareBf16* in_hardware(const bf16* x) { return reinterpret_cast<const HardwareBf16*>(x); }
#define EXPERT_IN_HARDWARE(row)                              \
  template <class... A>                                      \
  static decltype(auto) row(A&&... a) {                      \
    return Avx512::row(in_hardware(static_cast<A&&>(a))...); \
  }
  EXPERT_IN_HARDWARE(rms_norm_row)
  EXPERT_IN_HARDWARE(rms_norm_backward_row)
  EXPERT_IN_HARDWARE(qk_norm_rope_row)
  EXPERT_IN_HARDWARE(qk_norm_rope_backward_row)
  EXPERT_IN_HARDWARE(swiglu_row)
  EXPERT_IN_HARDWARE(swiglu_backward_row)
  EXPERT_IN_HARDWARE(residual_row)
  EXPERT_IN_HARDWARE(scale_columns_row)
  EXPERT_IN_HARDWARE(dora_backward_row)
  EXPERT_IN_HARDWARE(scale_exp_row)
  EXPERT_IN_HARDWARE(online_softmax_row)
  EXPERT_IN_HARDWARE(attention_gradient_row)
  EXPERT_IN_HARDWARE(convert_row)
#undef EXPERT_IN_HARDWARE

#include "expert/cpu/pair_kernels.inc"
#include "expert/cpu/pair_products.inc"

#include "expert/cpu/dot_products.inc"
  using Product = DotProduct;
};
struct AmxBf16 : Avx512Bf16 {
  using Product = TileProduct<HardwareTiles>;
};
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

struct AmxEmulated : Scalar {
#include "expert/cpu/pair_kernels.inc"
#include "expert/cpu/pair_products.inc"
  using Product = TileProduct<EmulatedTiles>;
};

}  // namespace isa

// Calls f(Kernels{}) with the kernels of an instruction set.
template <class F>
decltype(auto) with_kernels(Isa set, F&& f) {
#if defined(__x86_64__)
  if (set == Isa::Avx2) return f(isa::Avx2{});
  if (set == Isa::Avx512) return f(isa::Avx512{});
  if (set == Isa::Avx512Bf16 || set == Isa::AmxBf16) return f(isa::Avx512Bf16{});
#endif
  return f(isa::Scalar{});
}

// Calls f(Kernels{}) and returns true where the set has products of bf16 in pairs.
template <class F>
bool with_pair_kernels(Isa set, F&& f) {
#if defined(__x86_64__)
  if (set == Isa::AmxBf16) return f(isa::AmxBf16{}), true;
  if (set == Isa::Avx512Bf16) return f(isa::Avx512Bf16{}), true;
#endif
  if (set == Isa::AmxEmulated) return f(isa::AmxEmulated{}), true;
  return false;
}

}  // namespace v0
}  // namespace expert
