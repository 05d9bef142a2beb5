// expect: EXPERT-E071: an optimizer policy needs static constexpr optim, its name, and moments, the number of f32
// states per parameter. Add them.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::optimizer;
  static constexpr std::int64_t moments = 1;
#ifndef EXPECT_FAIL
  static constexpr std::string_view optim = "mine";
#endif
  static void update(const UpdateStep&, std::int64_t, float*, const float*, float*, float*) noexcept {}
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
