// A thread pool and an instruction set -> the rate of its multiply-adds from registers alone: what a dense product is
// held against.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>

#include "expert/cpu/device.hpp"

namespace expert::bench {

// Fourteen independent chains hide the latency of two FMA units; all numbers are zero, which costs what others cost.
#define EXPERT_CHAINS(OP, R) \
  OP(R, 2)                   \
  OP(R, 3)                   \
  OP(R, 4) OP(R, 5) OP(R, 6) OP(R, 7) OP(R, 8) OP(R, 9) OP(R, 10) OP(R, 11) OP(R, 12) OP(R, 13) OP(R, 14) OP(R, 15)
#define EXPERT_CLEAR(R, I) "vxorps %%xmm" #I ", %%xmm" #I ", %%xmm" #I "\n"
#define EXPERT_FMA(R, I) "vfmadd231ps %%" #R "0, %%" #R "1, %%" #R #I "\n"
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
#undef EXPERT_LOOP
#undef EXPERT_MUL_ADD_SSE
#undef EXPERT_CLEAR_SSE
#undef EXPERT_FMA
#undef EXPERT_CLEAR
#undef EXPERT_CHAINS

// FLOP/s of all threads together: the best of `windows` windows of about 4 ms.
inline double peak_flops(Cpu& cpu, int windows = 5) noexcept {
  double best = 0;
  for (int w = 0; w < windows; ++w) {
    const auto start = std::chrono::steady_clock::now();
    double flops = 0;
    cpu.pool->parallel_for(cpu.pool->size(), [&](std::int64_t i, int) noexcept {
      const double done = multiply_add_rounds(cpu.isa, 1'000'000);
      if (i == 0) flops = done * cpu.pool->size();
    });
    best = std::max(best, flops / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace expert::bench
