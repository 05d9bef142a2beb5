// expect: EXPERT-E003: a policy holds no data. Make its members static constexpr.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::optimizer;
  static constexpr std::string_view optim = "mine";
  static constexpr std::int64_t moments = 1;
#ifdef EXPECT_FAIL
  float momentum = 0.9f;
#else
  static constexpr float momentum = 0.9f;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
