// expect: EXPERT-E004: an adapter policy needs `static constexpr std::int64_t r`. Add its rank.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::adapter;
#ifndef EXPECT_FAIL
  static constexpr std::int64_t r = 4;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
