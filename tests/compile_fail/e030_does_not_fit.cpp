// expect: EXPERT-E030: this expert does not fit its budget, see fits<NeededMiB, BudgetMiB>. Lower Batch, Packing or the
// loss chunk, quantise the base weights, or raise Budget.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
inline constexpr std::int64_t needed = 46538;
#else
inline constexpr std::int64_t needed = 9741;
#endif
struct E : fits<needed, 24576> {};
int main() { return static_cast<int>(sizeof(E)) - 1; }
