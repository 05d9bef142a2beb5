// expect: EXPERT-E004: an adapter policy needs `static constexpr std::int64_t r`. Add its rank.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
struct Mine {
  using slot = slots::adapter;
  static constexpr std::array<Field, 0> describe() { return {}; }
};
#else
struct Mine : LoRA<4> {
  static constexpr std::array<Field, 0> describe() { return {}; }
};
#endif
using E = Expert<Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
