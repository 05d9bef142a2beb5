// expect: EXPERT-E067: a batch policy needs `static constexpr std::int64_t batch_size`. Add it.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::batch;
#ifndef EXPECT_FAIL
  static constexpr std::int64_t batch_size = 1;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
