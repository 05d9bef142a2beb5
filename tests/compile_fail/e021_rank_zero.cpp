// expect: EXPERT-E021: an adapter's rank is at least 1. Raise r, or use NoAdapter.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<0>>;
#else
using E = Expert<DoRA<1>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
