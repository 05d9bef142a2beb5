// expect: EXPERT-E084: a recomputed loss has at least one logit of a row at once. Raise vocab_rows.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, RecomputedCrossEntropy<64, 0>>;
#else
using E = Expert<DoRA<4>, RecomputedCrossEntropy<64, 1000>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
