// expect: EXPERT-E068: a tuning policy needs static constexpr bool trains_base and trains_adapter. Add them.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::tuning;
  static constexpr bool trains_adapter = true;
#ifndef EXPECT_FAIL
  static constexpr bool trains_base = false;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
