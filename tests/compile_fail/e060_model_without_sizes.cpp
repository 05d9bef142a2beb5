// expect: EXPERT-E060: a model policy needs the sizes of config.json as static constexpr members: hidden_size,
// num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, intermediate_size, vocab_size,
// tie_word_embeddings, max_position_embeddings, rms_norm_eps, rope_theta. Derive from HfDecoder<...>.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
struct Mine {
  using slot = slots::model;
#else
struct Mine : HfDecoder<64, 2, 4, 2, 16, 128, 100, true> {
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
