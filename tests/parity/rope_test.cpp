// RoPE: frequencies, attention factors and tables of every variant in the fixture, and the rotation, against
// transformers.
#include "expert/ops/rope.hpp"

#include <optional>
#include <set>

#include "expert/json/json.hpp"
#include "expert/policy/rope.hpp"
#include "support.hpp"

namespace rope_test {
using namespace parity;

namespace {

// The head sizes for which the fixture has tables: "hd128.default.inv_freq" -> 128.
std::set<std::int64_t> head_dims(const SafetensorsFile& file) {
  std::set<std::int64_t> found;
  for (const TensorView& t : file.tensors())
    if (t.name.starts_with("hd")) found.insert(std::stoll(t.name.substr(2)));
  return found;
}

struct RopeVariants {
  const SafetensorsFile& file;
  double theta;
  std::set<std::string> seen{};

  // Frequencies, attention factor and, where the fixture has them, the tables at every position. The longest trained
  // context is the metadata's unless given.
  template <class Policy>
  void check(const std::string& variant, std::int64_t context_length, std::optional<std::int64_t> longest = {}) {
    for (const std::int64_t head_dim : head_dims(file)) {
      const std::string key = "hd" + std::to_string(head_dim) + "." + variant;
      seen.insert(key);
      if (!has(file, key + ".inv_freq")) continue;
      double scaling = 1;
      if (const std::string* found = file.metadata(key)) {
        const Json json = parse_json(*found, key, 4096);
        scaling = json.find("attention_scaling")->as_double();
        if (!longest) longest = json.find("max_position_embeddings")->as_int();
      }
      std::vector<float> inv_freq(static_cast<std::size_t>(head_dim / 2));
      const float got_scaling = Policy::inv_freq(inv_freq, theta, head_dim, longest.value_or(0), context_length);
      const std::vector<float> theirs = floats(file, key + ".inv_freq");
      INFO(key);
      CHECK(got_scaling == static_cast<float>(scaling));
      std::vector<float> ratio(theirs.size());
      for (std::size_t i = 0; i < theirs.size(); ++i)
        ratio[i] = static_cast<float>(double{inv_freq[i]} / double{theirs[i]} - 1);
      check_close(key + ".inv_freq, relative", ratio, std::vector<float>(theirs.size()), rope_frequencies);
      if (file.find(key + ".cos") == nullptr) continue;
      // The tables are checked on the fixture's own frequencies: at position 65535 one unit in the last place of a
      // frequency already moves the angle by 0.004.
      const std::vector<float> expected_cos = floats(file, key + ".cos"), expected_sin = floats(file, key + ".sin");
      std::vector<std::int32_t> positions = ids(file, "positions");
      positions.resize(expected_cos.size() / theirs.size());
      std::vector<float> cos(expected_cos.size()), sin(expected_sin.size());
      reference::rope_tables<float>(positions, theirs, got_scaling, cos.data(), sin.data());
      check_close(key + ".cos", cos, expected_cos, rope_tables * scaling);
      check_close(key + ".sin", sin, expected_sin, rope_tables * scaling);
    }
  }
};

}  // namespace

TEMPLATE_LIST_TEST_CASE("every RoPE policy gives the fixture's frequencies, attention factor and tables",
                        "[parity][rope]", parity_sets::ParitySets) {
  using Set = TestType;
  const auto file = fixture<Set>("ref_rope");
  if (!file) return;
  RopeVariants variants{*file, Set::model::rope_theta};
  variants.check<RopeDefault>("default", 1000);
  variants.check<RopeLinear<4>>("linear_4", 1000);
  variants.check<RopeDynamic<4>>("dynamic_4_short", 40960);
  variants.check<RopeDynamic<4>>("dynamic_4_at65536", 65536);
  variants.check<RopeDynamic<4, 8192>>("dynamic_4_at65536", 65536, 40960);
  variants.check<RopeYarn<4, 32768>>("yarn_4_qwen3_card", 1000);
  variants.check<RopeYarn<4, 8192>>("yarn_4_8192_32768", 1000);
  variants.check<RopeYarn<4, 8192, 1>>("ntkbyparts_4_8192_32768", 1000);
  variants.check<RopeYarn<8, 8192, 1>>("ntkbyparts_8_8192_65536", 1000);
  variants.check<RopeYarn<8, 8192, 1>>("ntkbyparts_8_8192_manifest_32768", 1000);
  variants.check<RopeYarn<4, 8192, 0, 16, 2>>("yarn_4_8192_beta_16_2", 1000);
  variants.check<RopeLlama3<8, 8192>>("llama3_8_8192", 1000);
  // The base stretched above its limit as the reference runtime does.
  variants.check<RopeNtkByParts<8192, 32768>>("seed_rust_beta025_32768", 32768);
  variants.check<RopeNtkByParts<8192, 32768>>("seed_rust_beta025_65536", 65536);
  variants.check<RopeNtkByParts<8192, 32768, 16>>("seed_rust_beta025_131072", 131072);
  for (const TensorView& t : file->tensors())
    if (t.name.ends_with(".inv_freq") && !variants.seen.contains(t.name.substr(0, t.name.rfind('.'))))
      WARN("skipped: no policy is listed here for " << t.name << " of " << file->name());
}

TEMPLATE_LIST_TEST_CASE("rotating transformers' normed queries and keys gives its rotated ones", "[parity][rope]",
                        parity_sets::ParitySets) {
  using Set = TestType;
  using M = typename Set::model;
  const SafetensorsFile file(path_of(Set::directory, "ref_forward.safetensors"));
  const std::int64_t rows = tensor(file, "input_ids").shape[0], tokens = tensor(file, "input_ids").shape[1];
  std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens));
  for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<std::int32_t>(i);
  std::vector<float> inv_freq(M::head_dim / 2);
  const float scaling = RopeDefault::inv_freq(inv_freq, M::rope_theta, M::head_dim, M::max_position_embeddings, tokens);
  std::vector<float> cos(positions.size() * inv_freq.size()), sin(cos.size());
  reference::rope_tables<float>(positions, inv_freq, scaling, cos.data(), sin.data());
  for (std::int64_t l = 0; l < M::num_hidden_layers; ++l)
    for (const std::string name : {"q", "k"}) {
      const std::string key = "layers." + std::to_string(l) + "." + name;
      const std::int64_t heads = name == "q" ? M::num_attention_heads : M::num_key_value_heads;
      const std::vector<float> x = floats(file, key + "_norm");
      std::vector<float> out(x.size());
      for (std::int64_t b = 0; b < rows; ++b) {
        const std::int64_t at = b * tokens * heads * M::head_dim;
        reference::rope_forward(tokens, heads, M::head_dim, x.data() + at, cos.data(), sin.data(), out.data() + at);
      }
      check_close(key + "_rope", out, tokens_first(tensor(file, key + "_rope")), rotated);
    }
}

}  // namespace rope_test
