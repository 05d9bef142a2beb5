// The CPU that runs this -> the instruction set of its kernels: CPUID, the operating system's consent, and one fixed
// table.
#pragma once
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "expert/core/error.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode unknown_isa{306, "this is not the name of an instruction set"};
inline constexpr ErrorCode unsupported_isa{307, "this CPU lacks the instruction set"};

// Each has kernels of its own or uses those of the one before it. AmxEmulated has the tile semantics of AmxBf16 without
// the hardware, for tests.
enum class Isa : std::uint8_t { Scalar, Avx2, Avx512, Avx512Bf16, AmxBf16, AmxEmulated };
inline constexpr std::array all_isas{Isa::Scalar,     Isa::Avx2,    Isa::Avx512,
                                     Isa::Avx512Bf16, Isa::AmxBf16, Isa::AmxEmulated};

constexpr std::string_view name_of(Isa isa) {
  constexpr std::string_view names[] = {"scalar", "avx2", "avx512", "avx512-bf16", "amx-bf16", "amx-emulated"};
  return names[static_cast<int>(isa)];
}

// The inverse of name_of. Throws EXPERT-E306.
inline Isa isa_from_name(std::string_view name) {
  std::string known;
  for (const Isa isa : all_isas) {
    if (name == name_of(isa)) return isa;
    known += (known.empty() ? "one of " : ", ") + std::string(name_of(isa));
  }
  throw Error(unknown_isa, {.file = {},
                            .where = {},
                            .expected = known,
                            .got = quoted(name),
                            .fix = "Leave it out to use the best of this CPU"});
}

// What CPUID, XGETBV and the kernel say, each reduced to what the table below asks.
struct CpuFeatures {
  bool avx2 = false;           // AVX2, FMA; the system saves ymm
  bool avx512 = false;         // F, BW, DQ, VL; the system saves zmm and the mask registers
  bool avx512_bf16 = false;    // vdpbf16ps
  bool amx_bf16 = false;       // tiles and tdpbf16ps; the system gives this process tile state
  bool fast_bf16_dot = false;  // vdpbf16ps runs at the rate of an FMA: AMD's; on Intel it has half of it
};

inline CpuFeatures detect_cpu_features() noexcept {
  CpuFeatures f;
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0, vendor = 0, leaf7_subleaves = 0;
  if (!__get_cpuid(0, &a, &vendor, &c, &d) || a < 7) return f;
  __get_cpuid(1, &a, &b, &c, &d);
  const bool fma = c & (1u << 12), osxsave = c & (1u << 27), avx = c & (1u << 28);
  if (!osxsave) return f;
  unsigned xcr0 = 0, xcr0_high = 0;
  __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));
  const auto saves = [&](unsigned states) { return (xcr0 & states) == states; };
  __get_cpuid_count(7, 0, &leaf7_subleaves, &b, &c, &d);
  const unsigned foundation = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);  // F, DQ, BW, VL
  const bool tiles = (d & (1u << 24)) && (d & (1u << 22));
  f.avx2 = avx && fma && (b & (1u << 5)) && saves(0x6);
  f.avx512 = f.avx2 && (b & foundation) == foundation && saves(0xe6);
  if (leaf7_subleaves >= 1 && f.avx512) {
    __get_cpuid_count(7, 1, &a, &b, &c, &d);
    f.avx512_bf16 = a & (1u << 5);
  }
  f.fast_bf16_dot = f.avx512_bf16 && vendor == 0x68747541;  // "Auth" of AuthenticAMD
#if defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  f.amx_bf16 = tiles && f.avx512_bf16 && saves(0x60000) && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#endif
#endif
  return f;
}
inline const CpuFeatures& cpu_features() noexcept {
  static const CpuFeatures features = detect_cpu_features();
  return features;
}

constexpr bool supports(const CpuFeatures& f, Isa isa) {
  switch (isa) {
    case Isa::Scalar:
    case Isa::AmxEmulated:
      return true;
    case Isa::Avx2:
      return f.avx2;
    case Isa::Avx512:
      return f.avx512;
    case Isa::Avx512Bf16:
      return f.avx512_bf16;
    case Isa::AmxBf16:
      return f.amx_bf16;
  }
  return false;
}
constexpr Isa best_isa(const CpuFeatures& f) {
  if (f.amx_bf16) return Isa::AmxBf16;
  if (f.fast_bf16_dot) return Isa::Avx512Bf16;
  if (f.avx512) return Isa::Avx512;
  return f.avx2 ? Isa::Avx2 : Isa::Scalar;
}
inline Isa best_isa() noexcept { return best_isa(cpu_features()); }

// Throws EXPERT-E307 where a machine with these features cannot run `isa`.
inline Isa require_supported(Isa isa, const CpuFeatures& features = cpu_features()) {
  if (!supports(features, isa))
    throw Error(unsupported_isa, {.file = {},
                                  .where = {},
                                  .expected = "at most " + std::string(name_of(best_isa(features))),
                                  .got = std::string(name_of(isa)),
                                  .fix = "Choose one that this CPU has, or leave it out"});
  return isa;
}

// What EXPERT_ISA names, else the best. Only tests and benches call it: no environment variable changes a result of the
// library. Throws EXPERT-E306, EXPERT-E307.
inline Isa isa_from_environment_for_tests() {
  const char* name = std::getenv("EXPERT_ISA");
  return name == nullptr || *name == '\0' ? best_isa() : require_supported(isa_from_name(name));
}

}  // namespace v0
}  // namespace expert
