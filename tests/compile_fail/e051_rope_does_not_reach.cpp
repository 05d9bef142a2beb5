// expect: EXPERT-E051: RopeNtkByParts<Original, Max, Factor> needs Original * Factor >= Max: the context cannot be
// stretched to less than the length that needs no stretching. Raise Factor or lower Max.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, RopeNtkByParts<8192, 32768, 3>>;
#else
using E = Expert<DoRA<4>, RopeNtkByParts<8192, 32768, 4>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
