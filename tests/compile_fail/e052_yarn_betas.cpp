// expect: EXPERT-E052: RopeYarn needs Original > 0, AttentionFactor >= 0 and BetaFast > BetaSlow > 0.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, RopeYarn<4, 8192, 0, 1, 32>>;
#else
using E = Expert<DoRA<4>, RopeYarn<4, 8192>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
