// expect: EXPERT-E075: a decode_batches policy needs `static constexpr std::array supported_batch_sizes`. Add it.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::decode_batches;
#ifndef EXPECT_FAIL
  static constexpr std::array<std::int64_t, 1> supported_batch_sizes{1};
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
