// expect: EXPERT-E001: not a policy: it has no slot. Add `using slot = expert::slots::...;`.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Stranger {};

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, Stranger>;
#else
using E = Expert<DoRA<4>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
