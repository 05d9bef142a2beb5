// expect: EXPERT-E074: a kv policy needs static constexpr bool caches and persists. Add them.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::kv;
  static constexpr bool caches = true;
#ifndef EXPECT_FAIL
  static constexpr bool persists = false;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
