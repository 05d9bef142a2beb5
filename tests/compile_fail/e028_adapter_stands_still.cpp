// expect: EXPERT-E028: the base is trained while the adapter stands still. Use NoAdapter with FullFineTune, or
// AdapterOnly.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<LoRA<4>, FullFineTune>;
#else
using E = Expert<NoAdapter, FullFineTune>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
