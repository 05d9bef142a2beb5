// expect: EXPERT-E024: a quantisation group has at least one weight. Raise Group.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, Int4Affine<0>>;
#else
using E = Expert<DoRA<4>, Int4Affine<32>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
