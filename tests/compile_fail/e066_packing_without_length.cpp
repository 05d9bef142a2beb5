// expect: EXPERT-E066: a packing policy needs static constexpr max_seq_length and packing. Add them.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::packing;
  static constexpr bool packing = true;
#ifndef EXPECT_FAIL
  static constexpr std::int64_t max_seq_length = 64;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
