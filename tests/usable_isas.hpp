// The instruction sets that this CPU runs; each that it lacks is named as skipped.
#pragma once
#include <span>
#include <vector>

#include "catch.hpp"
#include "expert/cpu/isa.hpp"

inline std::vector<expert::Isa> usable_among(std::span<const expert::Isa> sets) {
  std::vector<expert::Isa> usable;
  for (const expert::Isa isa : sets) {
    if (expert::supports(expert::cpu_features(), isa))
      usable.push_back(isa);
    else
      WARN("skipped on this CPU: " << expert::name_of(isa));
  }
  return usable;
}
// Those with f32 kernels of their own.
inline std::vector<expert::Isa> usable_isas() {
  constexpr expert::Isa sets[] = {expert::Isa::Scalar, expert::Isa::Avx2, expert::Isa::Avx512};
  return usable_among(sets);
}
// Those whose products of bf16 differ as well.
inline std::vector<expert::Isa> all_usable_isas() { return usable_among(expert::all_isas); }
