// expect: EXPERT-E062: a quant policy needs static constexpr kind, bits, block_size and takes_gradient. Add them.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::quant;
  static constexpr WeightKind kind = WeightKind::as_checkpoint;
  static constexpr std::int64_t bits = 16, block_size = 0;
#ifndef EXPECT_FAIL
  static constexpr bool takes_gradient = true;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
