// expect: EXPERT-E050: a RoPE scaling factor is at least 1. Use RopeDefault for no scaling.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, RopeLinear<Ratio{1, 2}>>;
#else
using E = Expert<DoRA<4>, RopeLinear<Ratio{3, 2}>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
