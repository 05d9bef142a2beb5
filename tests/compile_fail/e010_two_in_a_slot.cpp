// expect: EXPERT-E010: two of these policies fill the same slot. Keep one.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, LoRA<4>>;
#else
using E = Expert<DoRA<4>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
