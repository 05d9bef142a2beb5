// expect: EXPERT-E080: an adapter policy needs alpha, target_modules, targets(Projection), scaling(), is_dora,
// dropout_product and rank_stabilized. Derive from LoRA<r, alpha, Targets<...>>.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
struct Mine {
  using slot = slots::adapter;
  static constexpr std::int64_t r = 4;
  static constexpr std::array<Field, 0> describe() { return {}; }
};
#else
struct Mine : LoRA<4> {
  static constexpr std::array<Field, 0> describe() { return {}; }
};
#endif
using E = Expert<Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
