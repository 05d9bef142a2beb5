// expect: EXPERT-E018: rows are longer than the context that model and rope allow. Lower Packing, or scale RoPE.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<ExpertTiny, DoRA<4>, Packing<4096>>;
#else
using E = Expert<ExpertTiny, RopeNtkByParts<8192, 32768>, DoRA<4>, Packing<4096>>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
