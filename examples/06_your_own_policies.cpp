// Why: a policy is any empty struct with a slot, its values and describe(). One from your own namespace enters type,
// memory plan, manifest check and printed description like ours; nothing is registered.
#include <cstdio>
#include <expert/manifest.hpp>
#include <expert/plan/memory.hpp>

#include "../experts/expert-sql/expert.hpp"

namespace lab {

using namespace expert;

// A base of your own sizes: hidden_size, layers, heads, key-value heads, head_dim, intermediate_size, vocab_size, tied.
struct Lab120M : HfDecoder<768, 12, 12, 4, 64, 2048, 32000, true, 4096> {
  static constexpr std::string_view name = "Lab-120M";
  static constexpr auto describe() { return describe_model(name); }
};

// The lower half of the frequencies rotates half as fast.
struct RopeHalfSlow {
  using slot = slots::rope;
  static constexpr std::string_view type = "half-slow";
  static constexpr auto describe() { return std::array{Field{"/base_models/0/rope_scaling/type", type}}; }
  static constexpr std::int64_t longest_context(std::int64_t max_position_embeddings) {
    return max_position_embeddings;
  }
  static float inv_freq(std::span<float> out, double theta, std::int64_t head_dim, std::int64_t max_position_embeddings,
                        std::int64_t context_length) {
    const float scale = RopeDefault::inv_freq(out, theta, head_dim, max_position_embeddings, context_length);
    for (std::size_t i = out.size() / 2; i < out.size(); ++i) out[i] /= 2;
    return scale;
  }
};

using Sql = SqlExpert<Lab120M, RopeHalfSlow, Bf16Weights, Packing<1024>, Budget<8_GiB>>;
static_assert(TrainingPlan<Sql>::bytes(TrainingPlan<Sql>::max_tokens) <= 8_GiB);

}  // namespace lab

int main() {
  using namespace expert;
  std::printf("%lld trainable parameters, %lld of 32 rows at once\n",
              static_cast<long long>(trainable_parameters<lab::Sql>),
              static_cast<long long>(TrainingPlan<lab::Sql>::sub_batch_rows));
  for (const DescribedPolicy& policy : describe<lab::Sql>())
    for (const Field& field : policy.fields)
      std::printf("%-14s %-55s %s\n", policy.slot.c_str(), field.pointer.data(),
                  detail::to_json(field.value).dump().c_str());

  Manifest manifest = load_manifest("experts/expert-sql/manifest.json");
  set_value(manifest, "base_models.0.name=Lab-120M");
  set_value(manifest, "base_models.0.quantization=bf16");
  set_value(manifest, "training.config.max_seq_length=1024");
  // What is left are the values of the rope policy that this manifest still states.
  const std::vector<Mismatch> mismatches = check_manifest<lab::Sql>(manifest);
  std::printf("%s", mismatch_table(manifest.file, mismatches).c_str());
  for (const Mismatch& m : mismatches)
    if (!m.pointer.starts_with("/base_models/0/rope_scaling/")) return 1;
  return mismatches.empty() ? 1 : 0;
}
