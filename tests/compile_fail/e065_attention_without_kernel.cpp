// expect: EXPERT-E065: an attention policy needs `static constexpr std::string_view attention_kernel`. Add it.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::attention;
#ifndef EXPECT_FAIL
  static constexpr std::string_view attention_kernel = "mine";
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
