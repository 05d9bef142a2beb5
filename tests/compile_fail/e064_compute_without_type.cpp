// expect: EXPERT-E064: a compute policy needs `using type = float;` or bf16, the type of activations. Add it.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::compute;
#ifndef EXPECT_FAIL
  using type = float;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
