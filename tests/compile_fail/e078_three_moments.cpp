// expect: EXPERT-E078: an optimizer keeps 0, 1 or 2 moments per parameter. Change moments.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::optimizer;
  static constexpr std::string_view optim = "mine";
#ifdef EXPECT_FAIL
  static constexpr std::int64_t moments = 3;
#else
  static constexpr std::int64_t moments = 2;
#endif
  static void update(const UpdateStep&, std::int64_t, float*, const float*, float*, float*) noexcept {}
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
