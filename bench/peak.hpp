// A thread pool and an instruction set -> the rate of its multiply-adds from registers alone, and of reading memory:
// what a product is held against.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>

#include "expert/cpu/device.hpp"
#include "expert/cpu/tiles.hpp"

namespace expert::bench {

// Fourteen independent chains hide the latency of two FMA units; all numbers are zero, which costs what others cost.
#define EXPERT_CHAINS(OP, R) \
  OP(R, 2)                   \
  OP(R, 3)                   \
  OP(R, 4) OP(R, 5) OP(R, 6) OP(R, 7) OP(R, 8) OP(R, 9) OP(R, 10) OP(R, 11) OP(R, 12) OP(R, 13) OP(R, 14) OP(R, 15)
#define EXPERT_CLEAR(R, I) "vxorps %%xmm" #I ", %%xmm" #I ", %%xmm" #I "\n"
#define EXPERT_FMA(R, I) "vfmadd231ps %%" #R "0, %%" #R "1, %%" #R #I "\n"
#define EXPERT_DOT(R, I) "vdpbf16ps %%" #R "0, %%" #R "1, %%" #R #I "\n"
#define EXPERT_CLEAR_SSE(R, I) "xorps %%xmm" #I ", %%xmm" #I "\n"
#define EXPERT_MUL_ADD_SSE(R, I) "mulps %%xmm0, %%xmm" #I "\naddps %%xmm1, %%xmm" #I "\n"
#define EXPERT_LOOP(CLEAR, OP, R)                                                                                      \
  __asm__ volatile(CLEAR(R, 0) CLEAR(R, 1) EXPERT_CHAINS(CLEAR, R) "1:\n" EXPERT_CHAINS(OP, R) "dec %0\njnz 1b\n"      \
                   : "+r"(rounds)                                                                                      \
                   :                                                                                                   \
                   : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
                     "xmm12", "xmm13", "xmm14", "xmm15", "cc")

// Floating-point operations done: 14 vectors a round, 2 for each number.
inline double multiply_add_rounds(Isa set, std::int64_t rounds) noexcept {
  const double vectors = 14.0 * static_cast<double>(rounds);
#if defined(__x86_64__)
  if (set == Isa::Avx2) {
    EXPERT_LOOP(EXPERT_CLEAR, EXPERT_FMA, ymm);
    __asm__ volatile("vzeroupper");
    return vectors * 8 * 2;
  }
  if (set != Isa::Scalar && set != Isa::AmxEmulated) {
    EXPERT_LOOP(EXPERT_CLEAR, EXPERT_FMA, zmm);
    __asm__ volatile("vzeroupper");
    return vectors * 16 * 2;
  }
  EXPERT_LOOP(EXPERT_CLEAR_SSE, EXPERT_MUL_ADD_SSE, xmm);
  return vectors * 4 * 2;
#else
  return vectors * 0;  // not measured here
#endif
}

// The same for products of bf16: tiles of AMX, vdpbf16ps, or what f32 has.
inline double pair_multiply_add_rounds(Isa set, std::int64_t rounds) noexcept {
#if defined(__x86_64__)
  if (set == Isa::AmxBf16) {
    const isa::HardwareTiles tiles;
    tiles.zero<4>(), tiles.zero<5>(), tiles.zero<6>(), tiles.zero<7>();
    for (std::int64_t r = 0; r < rounds / 16; ++r) {  // a product takes 16 cycles
      tiles.multiply<0, 4, 6>();
      tiles.multiply<1, 4, 7>();
      tiles.multiply<2, 5, 6>();
      tiles.multiply<3, 5, 7>();
    }
    return static_cast<double>(rounds / 16) * 4 * 16 * 16 * 32 * 2;
  }
  if (set == Isa::Avx512Bf16) {
    const double vectors = 14.0 * static_cast<double>(rounds);
    EXPERT_LOOP(EXPERT_CLEAR, EXPERT_DOT, zmm);
    __asm__ volatile("vzeroupper");
    return vectors * 32 * 2;
  }
#endif
  return multiply_add_rounds(set, rounds);
}

#undef EXPERT_LOOP
#undef EXPERT_MUL_ADD_SSE
#undef EXPERT_CLEAR_SSE
#undef EXPERT_DOT
#undef EXPERT_FMA
#undef EXPERT_CLEAR
#undef EXPERT_CHAINS

// FLOP/s of all threads together: the best of `windows` windows of about 4 ms.
inline double peak_flops(Cpu& cpu, int windows = 5, bool pairs = false) noexcept {
  double best = 0;
  for (int w = 0; w < windows; ++w) {
    const auto start = std::chrono::steady_clock::now();
    double flops = 0;
    cpu.pool->parallel_for(cpu.pool->size(), [&](std::int64_t i, int) noexcept {
      const double done = (pairs ? pair_multiply_add_rounds : multiply_add_rounds)(cpu.isa, 1'000'000);
      if (i == 0) flops = done * cpu.pool->size();
    });
    best = std::max(best, flops / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// Bytes per second that all threads together read from `bytes` of memory, more than the caches hold: the best of
// `windows` passes, each with and without fetching 8 KiB ahead.
inline double peak_bandwidth(Cpu& cpu, const std::byte* memory, std::int64_t bytes, int windows = 3) noexcept {
  double best = 0;
  const std::int64_t threads = cpu.pool->size(), each = bytes / threads / 256 * 256;
  for (int w = 0; w < 2 * windows; ++w) {
    const auto start = std::chrono::steady_clock::now();
    cpu.pool->parallel_for(threads, [&](std::int64_t t, int) noexcept {
      typedef long long Line __attribute__((vector_size(64), aligned(1), may_alias));
      const std::byte *from = memory + t * each, *end = from + each;
      Line sums[4] = {};
      for (; from < end; from += 256)
        for (int i = 0; i < 4; ++i) {
          if (w % 2 == 1) __builtin_prefetch(from + 8192 + 64 * i, 0, 2);
          sums[i] += *reinterpret_cast<const Line*>(from + 64 * i);
        }
      const Line sum = sums[0] + sums[1] + sums[2] + sums[3];
      __asm__ volatile("" : : "m"(sum));
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, static_cast<double>(each * threads) / seconds);
  }
  return best;
}

}  // namespace expert::bench
