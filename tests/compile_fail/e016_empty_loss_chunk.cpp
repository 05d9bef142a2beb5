// expect: EXPERT-E016: a loss chunk has at least one row. Raise chunk_rows.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, ChunkedCrossEntropy<0>>;
#else
using E = Expert<DoRA<4>, ChunkedCrossEntropy<64>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
