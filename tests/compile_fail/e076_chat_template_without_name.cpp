// expect: EXPERT-E076: a chat_template policy needs `static constexpr std::string_view prompt_template`. Add it.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::chat_template;
#ifndef EXPECT_FAIL
  static constexpr std::string_view prompt_template = "mine";
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
