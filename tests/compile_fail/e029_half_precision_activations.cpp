// expect: EXPERT-E029: activations are f32 or bf16. Use Compute<f32> or Compute<bf16>.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, Compute<f16>>;
#else
using E = Expert<DoRA<4>, Compute<bf16>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
