// Policies of slot `budget`: the memory that a plan may take. plan/memory.hpp chooses the largest sub-batch that fits.
#pragma once
#include <cstdint>

#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

inline namespace literals {
constexpr std::int64_t operator""_MiB(unsigned long long n) { return static_cast<std::int64_t>(n) << 20; }
constexpr std::int64_t operator""_GiB(unsigned long long n) { return static_cast<std::int64_t>(n) << 30; }
}  // namespace literals

template <std::int64_t Bytes>
struct Budget {
  using slot = slots::budget;
  static constexpr std::int64_t bytes = Bytes;
  static constexpr std::array<Field, 0> describe() { return {}; }  // a property of the machine, not of the expert
};

}  // namespace v0
}  // namespace expert
