// expect: EXPERT-E061: a rope policy needs `static float inv_freq(std::span<float> out, double theta, std::int64_t
// head_dim, std::int64_t max_position_embeddings, std::int64_t context_length)` and `static constexpr std::int64_t
// longest_context(std::int64_t max_position_embeddings)`. Add them.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::rope;
  static constexpr std::int64_t longest_context(std::int64_t trained) { return trained; }
#ifndef EXPECT_FAIL
  static float inv_freq(std::span<float>, double, std::int64_t, std::int64_t, std::int64_t) { return 1; }
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
