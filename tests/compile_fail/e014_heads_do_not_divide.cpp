// expect: EXPERT-E014: num_attention_heads is not a multiple of num_key_value_heads, so query heads cannot share key
// heads evenly. Change one of the two.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<HfDecoder<64, 2, 6, 4, 16, 128, 100, true>, DoRA<4>>;
#else
using E = Expert<HfDecoder<64, 2, 6, 3, 16, 128, 100, true>, DoRA<4>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
