// A bit for each token: bitsets joined, filled from the kinds of characters of each token, applied to logits.
//
// One text of loops, compiled once per instruction set inside pragma target regions, as in cpu/kernels.hpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>

#include "expert/cpu/isa.hpp"

namespace expert {
inline namespace v0 {
namespace isa {

struct MaskScalar {
  static constexpr int width = 4;
  typedef std::int32_t Lanes __attribute__((vector_size(16)));
  static unsigned movemask(Lanes v) {
    const auto bit = [v](int i) { return static_cast<unsigned>(v[i]) & 1u << i; };
    return bit(0) | bit(1) | bit(2) | bit(3);
  }
#include "expert/grammar/mask_kernels.inc"
};

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx,avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx,avx2")
#endif
struct MaskAvx2 {
  static constexpr int width = 8;
  typedef std::int32_t Lanes __attribute__((vector_size(32)));
  typedef float FloatLanes __attribute__((vector_size(32)));
  [[gnu::always_inline]] static inline unsigned movemask(Lanes v) {
    return static_cast<unsigned>(__builtin_ia32_movmskps256((FloatLanes)v));
  }
#include "expert/grammar/mask_kernels.inc"
};
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx,avx2,avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx,avx2,avx512f,avx512bw,avx512dq,avx512vl")
#endif
struct MaskAvx512 {
  static constexpr int width = 16;
  typedef std::int32_t Lanes __attribute__((vector_size(64)));
  typedef std::int32_t HalfLanes __attribute__((vector_size(32)));
  typedef float HalfFloats __attribute__((vector_size(32)));
  [[gnu::always_inline]] static inline unsigned movemask(Lanes v) {  // no builtin for it is common to both compilers
    const HalfLanes low = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
    const HalfLanes high = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    return static_cast<unsigned>(__builtin_ia32_movmskps256((HalfFloats)low)) |
           static_cast<unsigned>(__builtin_ia32_movmskps256((HalfFloats)high)) << 8;
  }
#include "expert/grammar/mask_kernels.inc"
};
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

}  // namespace isa

// Calls f(Kernels{}) with the mask kernels of an instruction set; sets without their own use those of Avx512.
template <class F>
decltype(auto) with_mask_kernels(Isa set, F&& f) {
#if defined(__x86_64__)
  if (set == Isa::Avx2) return f(isa::MaskAvx2{});
  if (set != Isa::Scalar && set != Isa::AmxEmulated) return f(isa::MaskAvx512{});
#endif
  return f(isa::MaskScalar{});
}

// The logits of tokens whose bit is not set become -inf. `mask` has a bit for each of the n logits, the first one in
// the lowest bit of the first word.
inline void apply_mask(float* logits, std::size_t n, const std::uint64_t* mask, Isa set = best_isa()) noexcept {
  with_mask_kernels(set, [&](auto kernels) { decltype(kernels)::apply(logits, mask, n); });
}

}  // namespace v0
}  // namespace expert
