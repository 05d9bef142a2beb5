// expect: EXPERT-E077: a budget policy needs `static constexpr std::int64_t bytes`. Add it.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::budget;
#ifndef EXPECT_FAIL
  static constexpr std::int64_t bytes = 1;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
