// expect: EXPERT-E013: nothing is trained. Add DoRA<r> or LoRA<r>, or choose FullFineTune.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<Qwen3_0_6B>;
#else
using E = Expert<Qwen3_0_6B, LoRA<8>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
