// expect: EXPERT-E017: the tokens of a batch (max_seq_length * batch_size) are not a multiple of the loss chunk. Choose
// chunk_rows that divides them, or EvenChunks.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, Packing<512>, Batch<3>, ChunkedCrossEntropy<100>>;
#else
using E = Expert<DoRA<4>, Packing<512>, Batch<3>, ChunkedCrossEntropy<96>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
