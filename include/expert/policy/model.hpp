// Policies of slot `model`: the sizes of a decoder, under the names of transformers' config.json.
#pragma once
#include <cstdint>
#include <string_view>

#include "expert/core/ratio.hpp"
#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

// A decoder of the Qwen3 architecture (Qwen3ForCausalLM) of any size. Name a base of your own by deriving:
//   struct MyBase : HfDecoder<512, 8, 8, 4, 64, 1536, 32000, true> {
//     static constexpr std::string_view name = "MyBase";
//     static constexpr auto describe() { return describe_model(name); }
//   };
template <std::int64_t HiddenSize, std::int64_t NumHiddenLayers, std::int64_t NumAttentionHeads,
          std::int64_t NumKeyValueHeads, std::int64_t HeadDim, std::int64_t IntermediateSize, std::int64_t VocabSize,
          bool TieWordEmbeddings, std::int64_t MaxPositionEmbeddings = 40960, Ratio RmsNormEps = Ratio{1, 1000000},
          Ratio RopeTheta = Ratio{1000000}>
struct HfDecoder {
  using slot = slots::model;
  static constexpr std::string_view name = "HfDecoder";
  static constexpr std::int64_t hidden_size = HiddenSize, num_hidden_layers = NumHiddenLayers,
                                num_attention_heads = NumAttentionHeads, num_key_value_heads = NumKeyValueHeads,
                                head_dim = HeadDim, intermediate_size = IntermediateSize, vocab_size = VocabSize,
                                max_position_embeddings = MaxPositionEmbeddings;
  static constexpr bool tie_word_embeddings = TieWordEmbeddings;
  static constexpr double rms_norm_eps = RmsNormEps.value(), rope_theta = RopeTheta.value();

  static constexpr auto describe_model(std::string_view base_name) {
    return std::array{Field{"/base_models/0/name", base_name}};
  }
  static constexpr auto describe() { return describe_model(name); }
};

struct Qwen3_0_6B : HfDecoder<1024, 28, 16, 8, 128, 3072, 151936, true> {
  static constexpr std::string_view name = "Qwen3-0.6B";
  static constexpr auto describe() { return describe_model(name); }
};

struct Qwen3_1_7B : HfDecoder<2048, 28, 16, 8, 128, 6144, 151936, true> {
  static constexpr std::string_view name = "Qwen3-1.7B";
  static constexpr auto describe() { return describe_model(name); }
};

struct Qwen3_4B : HfDecoder<2560, 36, 32, 8, 128, 9728, 151936, true> {
  static constexpr std::string_view name = "Qwen3-4B";
  static constexpr auto describe() { return describe_model(name); }
};

// Our own small base, trained from scratch in minutes: 3,672,832 parameters.
struct ExpertTiny : HfDecoder<256, 4, 4, 2, 64, 768, 2048, true, 2048> {
  static constexpr std::string_view name = "ExpertTiny";
  static constexpr auto describe() { return describe_model(name); }
};

}  // namespace v0
}  // namespace expert
