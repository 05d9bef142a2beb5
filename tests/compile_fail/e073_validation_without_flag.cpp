// expect: EXPERT-E073: a validation policy needs `static constexpr bool needs_language`: whether it parses the language
// of the grammar policy. Add it.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::validation;
#ifndef EXPECT_FAIL
  static constexpr bool needs_language = false;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
