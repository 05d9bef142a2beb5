// expect: EXPERT-E070: a loss policy needs `static constexpr std::int64_t chunk_rows`. Add it.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::loss;
#ifndef EXPECT_FAIL
  static constexpr std::int64_t chunk_rows = 64;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
