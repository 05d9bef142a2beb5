// From run time to type: exactly one entry of a registry agrees with a manifest, or the error says what to compile.
#include "expert/registry.hpp"

#include "catch.hpp"
#include "experts/expert-sql/expert.hpp"

namespace registry_test {
using namespace expert;

namespace {

const std::string root = EXPERT_SOURCE_DIR;
using Both = Registry<SqlExpert<>, TinySqlExpert>;
Manifest full() { return load_manifest(root + "/experts/expert-sql/manifest.json"); }
Manifest tiny() { return load_manifest(root + "/experts/expert-sql/tiny/manifest.json"); }

template <class R>
std::string base_of(const Manifest& manifest) {
  std::string name;
  with_expert(R{}, manifest, [&]<class E>(std::type_identity<E>) { name = E::model::name; });
  return name;
}

}  // namespace

TEST_CASE("a manifest chooses the entry that agrees with it", "[registry]") {
  CHECK(base_of<Both>(full()) == "Qwen3-0.6B");
  CHECK(base_of<Both>(tiny()) == "ExpertTiny");
  CHECK(base_of<Registry<TinySqlExpert, SqlExpert<>>>(tiny()) == "ExpertTiny");
}

TEST_CASE("no entry agrees: the error names the nearest one, its differences and the type to compile", "[registry]") {
  Manifest manifest = tiny();
  set_value(manifest, "base_models.0.adapters.0.r=16");
  set_value(manifest, "base_models.0.adapters.0.alpha=16");
  try {
    (void)base_of<Both>(manifest);
    FAIL("resolved");
  } catch (const Error& e) {
    CHECK(e.code() == registry_none_agrees.number);
    const std::string text = e.what();
    CHECK(text.find("entry 1 with 2 differences") != text.npos);
    CHECK(text.find("/base_models/0/adapters/0/r is 16, compiled 12") != text.npos);
    CHECK(text.find("compile Expert<ExpertTiny, RopeNtkByParts<8192, 32768, 8>, DoRA<16, 16>, Bf16Weights") !=
          text.npos);
  }
  CHECK_THROWS_AS(base_of<Registry<>>(manifest), Error);
}

TEST_CASE("several entries agree: refused, never the first one", "[registry]") {
  using Same = With<TinySqlExpert, ChunkedCrossEntropy<128>>;  // the manifest cannot tell loss chunks apart
  try {
    (void)base_of<Registry<TinySqlExpert, Same>>(tiny());
    FAIL("resolved");
  } catch (const Error& e) {
    CHECK(e.code() == registry_several_agree.number);
  }
}

TEST_CASE("a further check, such as the model's config.json, takes part in the choice", "[registry]") {
  const auto wants_151936 = []<class E>(std::type_identity<E>) {
    std::vector<Mismatch> found;
    if (E::model::vocab_size != 151936)
      found.push_back({"/vocab_size", "151936", std::to_string(E::model::vocab_size), type_name<typename E::model>()});
    return found;
  };
  const auto candidates = compare_all(Both{}, tiny(), wants_151936);
  CHECK(candidates.at(0).mismatches.size() == 4);
  CHECK(candidates.at(1).mismatches.size() == 1);
  CHECK_THROWS_AS(resolve(candidates, tiny()), Error);
  CHECK(resolve(compare_all(Both{}, full(), wants_151936), full()) == 0);
}

TEST_CASE("a manifest's type is spelled ready to paste", "[registry]") {
  CHECK(expert_type_of(full().json) ==
        "Expert<Qwen3_0_6B, RopeNtkByParts<8192, 32768, 8>, DoRA<12, 24>, Int4Quant, SdpaAttention, Packing<2048>, "
        "Batch<32>, "
        "Grammar<SqlPostgres>, ParserStrict, KvPersistence>");
  // What was spelled, compiled, is the expert that agrees.
  using Pasted = Expert<Qwen3_0_6B, RopeNtkByParts<8192, 32768, 8>, DoRA<12, 24>, Int4Quant, SdpaAttention,
                        Packing<2048>, Batch<32>, Grammar<SqlPostgres>, ParserStrict, KvPersistence>;
  STATIC_REQUIRE(std::same_as<Pasted, SqlExpert<>>);

  Manifest other = tiny();
  for (const char* setting :
       {"base_models.0.rope_scaling.factor=8.5", "base_models.0.rope_scaling.fine_grained=false",
        "base_models.0.adapters.0.type=rslora", "base_models.0.adapters.0.target_modules=[\"q_proj\", \"down_proj\"]",
        "training.config.bf16=false", "training.config.packing=false", "training.config.gradient_checkpointing=true",
        "training.decoding.grammar_type=cypher", "base_models.0.name=My */ base", "perf.supported_batch_sizes=[1, 3]",
        "base_models.0.prompt_template=plain"})
    set_value(other, setting);
  CHECK(expert_type_of(other.json) ==
        "Expert</* your policy for /base_models/0/name \"My / base\" */, RopeNtkByParts<8192, 32768, Ratio{8500000, "
        "1000000}, "
        "false>, RsLoRA<12, 24, Targets<Projection::q_proj, Projection::down_proj>>, Bf16Weights, Compute<f32>, "
        "SdpaAttention, "
        "NoPacking<512>, Batch<8>, RecomputeLayers, Grammar<Cypher>, ParserStrict, KvPersistence, DecodeBatches<1, 3>, "
        "PlainChat>");

  Manifest base = tiny();
  set_value(base, "base_models.0.adapters=[]");
  CHECK(expert_type_of(base.json).find("FullFineTune") != std::string::npos);
}

TEST_CASE("the report says what to change on either side", "[registry]") {
  const std::string report = mismatch_report(full(), check_manifest<TinySqlExpert>(full()));
  CHECK(report.find("4 fields\n") != report.npos);
  CHECK(report.find("\nfix: edit the manifest, or compile Expert<Qwen3_0_6B, ") != report.npos);
  CHECK(mismatch_report(full(), {}).empty());
}

}  // namespace registry_test
