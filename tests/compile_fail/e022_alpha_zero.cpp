// expect: EXPERT-E022: with alpha <= 0 the adapter is scaled away and learns nothing. Raise alpha.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<LoRA<4, 0>>;
#else
using E = Expert<LoRA<4, 1>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
