// expect: EXPERT-E079: an optimizer policy needs its rule, `static void update(const UpdateStep&, std::int64_t n,
// float* parameters, const float* gradients, float* first_moment, float* second_moment) noexcept`. Add it.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::optimizer;
  static constexpr std::string_view optim = "mine";
  static constexpr std::int64_t moments = 1;
#ifndef EXPECT_FAIL
  static void update(const UpdateStep&, std::int64_t, float*, const float*, float*, float*) noexcept {}
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
