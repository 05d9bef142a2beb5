// expect: EXPERT-E012: the base weights are quantised integers and take no gradient
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<>;
#else
using E = Expert<DoRA<4>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
