// expect: EXPERT-E072: a grammar policy needs static constexpr use_grammar and grammar_type. Add them.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::grammar;
  static constexpr bool use_grammar = true;
#ifndef EXPECT_FAIL
  static constexpr std::string_view grammar_type = "mine";
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
