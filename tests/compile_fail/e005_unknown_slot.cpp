// expect: EXPERT-E005: no stage reads this slot, so the policy would have no effect. Use one of expert::slots.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct my_slot {
  template <class P>
  static constexpr bool accepts = true;
};
struct Mine {
#ifdef EXPECT_FAIL
  using slot = my_slot;
#else
  using slot = slots::loss;
#endif
  static constexpr std::int64_t chunk_rows = 64;
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
