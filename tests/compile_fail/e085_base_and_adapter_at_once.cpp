// expect: EXPERT-E085: this tuning trains the base and the adapter at once; there are gradients of one of them. Use
// AdapterOnly, or NoAdapter with FullFineTune.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Everything {
  using slot = slots::tuning;
  static constexpr bool trains_base = true, trains_adapter = true;
  static constexpr std::array<Field, 0> describe() { return {}; }
};

#ifdef EXPECT_FAIL
using E = Expert<LoRA<4>, Everything, Bf16Weights>;
#else
using E = Expert<NoAdapter, Everything, Bf16Weights>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
