// expect: EXPERT-E023: this adapter changes no projection. Name at least one in Targets<...>.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<LoRA<4, 8, Targets<>>>;
#else
using E = Expert<LoRA<4, 8, Targets<Projection::q_proj>>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
