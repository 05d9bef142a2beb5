// expect: EXPERT-E002: this policy does not say what it means in the manifest. Add `static constexpr auto describe()`
// returning a std::array of Field.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::optimizer;
  static constexpr std::string_view optim = "mine";
  static constexpr std::int64_t moments = 1;
  static void update(const UpdateStep&, std::int64_t, float*, const float*, float*, float*) noexcept {}
#ifndef EXPECT_FAIL
  static constexpr std::array<Field, 0> describe() { return {}; }
#endif
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
