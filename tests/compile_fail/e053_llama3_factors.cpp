// expect: EXPERT-E053: RopeLlama3 needs Original > 0 and HighFreqFactor > LowFreqFactor > 0.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, RopeLlama3<8, 8192, 4, 1>>;
#else
using E = Expert<DoRA<4>, RopeLlama3<8, 8192>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
