// expect: EXPERT-E013: nothing is trained. Add DoRA<r> or LoRA<r>, or choose FullFineTune.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<ParserStrict>;
#else
using E = Expert<DoRA<4>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
