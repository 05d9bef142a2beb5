// expect: EXPERT-E012: the base weights are quantised integers and take no gradient, but this tuning trains them. Use
// DoRA<r> or LoRA<r> with AdapterOnly (QLoRA), or Bf16Weights with FullFineTune.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<Int4Quant, FullFineTune>;
#else
using E = Expert<Bf16Weights, FullFineTune>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
