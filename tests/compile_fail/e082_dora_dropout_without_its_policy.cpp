// expect: EXPERT-E082: DoRA with dropout needs a second product with the base weight, which this policy has not. Use
// DoRAWithDropout<r>, or dropout 0.
#include "expert/core/ratio.hpp"
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
struct Mine : DoRA<12> {
#else
struct Mine : DoRAWithDropout<12> {
#endif
  static constexpr Ratio dropout{1, 10};
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
