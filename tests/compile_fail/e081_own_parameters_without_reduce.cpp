// expect: EXPERT-E081: an adapter that trains parameters of its own needs tensors, initialise, expand and reduce, the
// last three noexcept, and is_dora = false. See slots::OwnParametersAreWhole.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine : LoRA<4> {
  static constexpr std::array<OwnTensor, 1> tensors(std::int64_t out, std::int64_t) { return {{{"scale", out}}}; }
  static void initialise(std::int64_t, std::int64_t, std::uint64_t, float*) noexcept {}
  static void expand(std::int64_t, std::int64_t, const float*, float*, float*) noexcept {}
#ifndef EXPECT_FAIL
  static void reduce(std::int64_t, std::int64_t, const float*, const float*, const float*, float*) noexcept {}
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
