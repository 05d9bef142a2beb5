// expect: EXPERT-E063: a head policy needs `static constexpr std::int64_t head_bits` (0: as in the checkpoint). Add it.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::head;
#ifndef EXPECT_FAIL
  static constexpr std::int64_t head_bits = 0;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
