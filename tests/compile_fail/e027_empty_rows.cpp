// expect: EXPERT-E027: max_seq_length is at least 1. Raise it.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, NoPacking<0>>;
#else
using E = Expert<DoRA<4>, NoPacking<1>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
