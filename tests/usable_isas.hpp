// The instruction sets with kernels of their own that this CPU runs; each that it lacks is named as skipped.
#pragma once
#include <vector>

#include "catch.hpp"
#include "expert/cpu/isa.hpp"

inline std::vector<expert::Isa> usable_isas() {
  std::vector<expert::Isa> usable;
  for (const expert::Isa isa : {expert::Isa::Scalar, expert::Isa::Avx2, expert::Isa::Avx512}) {
    if (expert::supports(expert::cpu_features(), isa))
      usable.push_back(isa);
    else
      WARN("skipped on this CPU: " << expert::name_of(isa));
  }
  return usable;
}
