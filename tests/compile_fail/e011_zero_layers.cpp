// expect: EXPERT-E011: a size of the model is zero or negative. Take it from config.json.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<HfDecoder<64, 0, 4, 2, 16, 128, 100, true>, DoRA<4>>;
#else
using E = Expert<HfDecoder<64, 1, 4, 2, 16, 128, 100, true>, DoRA<4>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
