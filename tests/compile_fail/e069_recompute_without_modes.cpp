// expect: EXPERT-E069: a recompute policy needs `static constexpr std::array modes{Recompute::...}`. Add it.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::recompute;
#ifndef EXPECT_FAIL
  static constexpr std::array modes{Recompute::none};
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
