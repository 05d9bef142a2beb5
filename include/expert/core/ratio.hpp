// Ratio: a fraction that may be a template argument (floating ones may not: clang 14 refuses them). Ratio{1, 10} is
// 0.1; a whole number converts by itself, so RopeLinear<4> needs no braces.
#pragma once
#include <cstdint>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

struct Ratio {
  std::int64_t num = 0, den = 1;  // public: a template argument's type must be structural
  constexpr Ratio(std::int64_t numerator, std::int64_t denominator = 1) : num(numerator), den(denominator) {}
  constexpr double value() const { return static_cast<double>(num) / static_cast<double>(den); }
  // The whole part of n * this; n is a size that somebody chose, not one that a file holds: no overflow check.
  constexpr std::int64_t times(std::int64_t n) const { return n * num / den; }
};

}  // namespace v0
}  // namespace expert
