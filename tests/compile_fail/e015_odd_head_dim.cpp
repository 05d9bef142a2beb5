// expect: EXPERT-E015: head_dim is odd, but rotary embedding turns pairs of dimensions. Use an even head_dim.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<HfDecoder<64, 2, 4, 2, 15, 128, 100, true>, DoRA<4>>;
#else
using E = Expert<HfDecoder<64, 2, 4, 2, 16, 128, 100, true>, DoRA<4>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
