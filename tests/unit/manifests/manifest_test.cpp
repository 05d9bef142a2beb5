// The manifest on its own and against the type. manifest_cases.json holds one row per way to be wrong: a patch of the
// SQL expert's manifest, the only code that it must give, and where.
#include "expert/manifest.hpp"

#include <fstream>
#include <set>

#include "catch.hpp"
#include "experts/expert-sql/expert.hpp"

namespace manifest_test {
using namespace expert;

namespace lab {  // a researcher's own adapter, outside the library
struct VeRA : LoRA<256> {
  static constexpr auto describe() {
    return std::array{Field{"/base_models/0/adapters/0/type", "vera"}, Field{"/base_models/0/adapters/0/r", r}};
  }
};
}  // namespace lab

namespace {

const std::string root = EXPERT_SOURCE_DIR;
Manifest sql_manifest() { return load_manifest(root + "/experts/expert-sql/manifest.json"); }

std::vector<std::string> segments(std::string_view pointer) {
  std::vector<std::string> path;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    std::string segment;
    for (const char c : pointer.substr(0, pointer.find('/'))) segment += c;
    pointer.remove_prefix(std::min(pointer.size(), segment.size()));
    const std::size_t slash = segment.find("~1");  // ~1 stands for a slash
    path.push_back(slash == segment.npos ? segment : segment.substr(0, slash) + '/' + segment.substr(slash + 2));
  }
  return path;
}
// The node with the value at the path replaced or, where there is none, removed.
Json patched(const Json& node, std::span<const std::string> path, const Json* value) {
  if (path.empty()) return *value;
  if (node.is_array()) {
    Json copy = Json::array();
    for (std::size_t i = 0; i < node.items().size(); ++i)
      copy.push(std::to_string(i) == path[0] ? patched(node.items()[i], path.subspan(1), value) : node.items()[i]);
    return copy;
  }
  Json copy = Json::object();
  bool found = false;
  for (const auto& [key, member] : node.is_object() ? node.members() : Json::object().members()) {
    const bool here = key == path[0];
    found |= here;
    if (here && path.size() == 1 && !value) continue;
    copy.set(key, here ? patched(member, path.subspan(1), value) : member);
  }
  if (!found && value) copy.set(path[0], patched(Json::object(), path.subspan(1), value));
  return copy;
}
Json patched(const Json& manifest, const Json& row) {
  Json copy = manifest;
  if (const Json* set = row.find("set"))
    for (const auto& [pointer, value] : set->members()) copy = patched(copy, segments(pointer), &value);
  if (const Json* remove = row.find("remove"))
    for (const Json& pointer : remove->items()) copy = patched(copy, segments(pointer.as_string()), nullptr);
  return copy;
}

template <class F>
int code_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return 0;
}

// A manifest that says what E's policies state, and nothing else.
template <class E>
Json manifest_of() {
  Json manifest = parse_json(
      R"({"name": "x", "version": "1.0.0", "schema_version": "2.0", "base_models": [{"adapters": [{}]}]})", "", 1000);
  for (const DescribedPolicy& policy : describe<E>())
    for (const Field& field : policy.fields) {
      const Json value = detail::to_json(field.value);
      manifest = patched(manifest, segments(field.pointer), &value);
    }
  return manifest;
}

}  // namespace

TEST_CASE("each row of manifest_cases.json gives exactly its code at its pointer", "[manifest]") {
  const Json manifest = sql_manifest().json;
  const Json rows = read_json(root + "/tests/unit/manifest_cases.json", 1 << 20);
  REQUIRE(rows.items().size() >= 95);
  for (const Json& row : rows.items()) {
    INFO(row.find("name")->as_string());
    const std::int64_t code = row.find("code")->as_int();
    if (const Json* text = row.find("text")) {
      CHECK(code_of([&] { (void)parse_manifest(text->as_string(), "case"); }) == code);
      continue;
    }
    const std::vector<Problem> problems = all_problems<SqlExpert<>>(patched(manifest, row));
    if (code == 0) {
      CHECK(problems.empty());
      continue;
    }
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].code.number == code);
    CHECK(problems[0].pointer == row.find("pointer")->as_string());
    CHECK(!problems[0].expected.empty());
  }
}

TEST_CASE("no code of the manifest check is without a row", "[manifest]") {
  std::set<std::int64_t> covered;
  const Json rows = read_json(root + "/tests/unit/manifest_cases.json", 1 << 20);
  for (const Json& row : rows.items()) covered.insert(row.find("code")->as_int());
  for (const ErrorCode code : {manifest_unknown_key, manifest_wrong_kind, manifest_out_of_range, manifest_choice,
                               manifest_missing, manifest_refused, manifest_contradiction, manifest_list_length,
                               manifest_list_twice, manifest_unsafe_name, manifest_old_form, manifest_mismatch})
    CHECK(covered.contains(code.number));
}

TEST_CASE("every mismatch is reported at once, sorted by pointer, with both values and the policy", "[manifest]") {
  Manifest manifest = sql_manifest();
  set_value(manifest, "training.config.batch_size=16");
  set_value(manifest, "base_models.0.adapters.0.r=16");
  set_value(manifest, "base_models.0.quantization=int8");
  const std::string rank_policy = type_name<DoRA<12>>();
  CHECK(check_manifest<SqlExpert<>>(manifest) ==
        std::vector<Mismatch>{{"/base_models/0/adapters/0/r", "16", "12", rank_policy},
                              {"/base_models/0/quantization", "\"int8\"", "\"int4\"", "Int4Quant"},
                              {"/training/config/batch_size", "16", "32", "Batch<32>"}});
  const std::string table = mismatch_table("m.json", check_manifest<SqlExpert<>>(manifest));
  CHECK(table.starts_with("m.json does not match the compiled expert: 3 fields\n  pointer"));
  CHECK(table.find("/base_models/0/quantization  \"int8\"    \"int4\"    Int4Quant\n") != table.npos);
  CHECK(mismatch_table("m.json", {}).empty());
}

TEST_CASE("an absent section is one mismatch for each field that the policies state", "[manifest]") {
  const std::vector<std::string> path = {"base_models", "0", "rope_scaling"};
  const std::vector<Mismatch> found = check_manifest<SqlExpert<>>(patched(sql_manifest().json, path, nullptr));
  CHECK(found.size() == 5);
  for (const Mismatch& m : found) CHECK(m.manifest == "(absent)");
}

TEST_CASE("a manifest written from policies, the user's own included, is accepted by them", "[manifest]") {
  CHECK(check_manifest<Expert<lab::VeRA>>(manifest_of<Expert<lab::VeRA>>()).empty());
  CHECK(check_manifest<Expert<FullFineTune>>(manifest_of<Expert<FullFineTune>>()).empty());
  CHECK(check_manifest<Expert<LoRA<4>, Int4Affine<32>, HeadInt8>>(
            manifest_of<Expert<LoRA<4>, Int4Affine<32>, HeadInt8>>())
            .empty());
  CHECK(all_problems<Expert<RsLoRA<4>, RopeDefault>>(manifest_of<Expert<RsLoRA<4>, RopeDefault>>()).empty());
  // Its type, and seven statements that VeRA does not make.
  CHECK(check_manifest<Expert<lab::VeRA>>(manifest_of<Expert<DoRA<256>>>()).size() == 8);
}

TEST_CASE("what a policy states is a field of class projected, of its own slot", "[manifest]") {
  const auto check = []<class E>(std::type_identity<E>) {
    for (const DescribedPolicy& policy : describe<E>())
      for (const Field& field : policy.fields) {
        INFO(policy.name << " " << field.pointer);
        const ManifestField* row = detail::find_field(field.pointer);
        REQUIRE(row);
        CHECK(row->field_class == FieldClass::projected);
        CHECK(row->note == policy.slot);
      }
  };
  check(std::type_identity<SqlExpert<>>{});
  check(std::type_identity<Expert<FullFineTune, NoPacking<64>, RopeYarn<4, 8192, 1>>>{});
  check(
      std::type_identity<Expert<LoRA<4>, Int4Affine<32>, HeadInt8, RopeLlama3<8, 8192>, RecomputeLayers, PlainChat>>{});
  check(std::type_identity<Expert<DoRAWithDropout<4>, Int8Quant, RopeDynamic<2, 1024>, Compute<f32>>>{});
}

TEST_CASE("DoRA with dropout is a policy of its own, in both directions", "[manifest]") {
  using Dropping = With<SqlExpert<>, DoRAWithDropout<12>>;
  Manifest manifest = sql_manifest();
  CHECK(check_manifest<Dropping>(manifest).size() == 1);
  set_value(manifest, "base_models.0.adapters.0.dropout=0.1");
  CHECK(check_manifest<Dropping>(manifest).empty());
  CHECK(check_manifest<SqlExpert<>>(manifest).at(0).pointer == "/base_models/0/adapters/0/dropout");
  CHECK(check_manifest<With<SqlExpert<>, LoRA<12>>>(manifest).size() == 2);  // type and scaling; dropout is free
}

TEST_CASE("load_manifest names file, place, value and the number of further problems", "[manifest]") {
  try {
    (void)parse_manifest(
        R"({"name": "x", "version": "1", "schema_version": "2.0", "base_models": [], "\u001b[31m": 0})", "m.json");
    FAIL("not refused");
  } catch (const Error& e) {
    CHECK(e.code() == manifest_unknown_key.number);
    CHECK(e.detail().file == "m.json");
    CHECK(std::string(e.what()).find("2 more problems") != std::string::npos);
    CHECK(std::string(e.what()).find('\x1b') == std::string::npos);  // a file cannot write to the terminal
  }
}

TEST_CASE("a manifest that is hostile or not there is refused", "[manifest]") {
  CHECK(code_of([] { (void)load_manifest(root + "/no/such/manifest.json"); }) != 0);
  CHECK(code_of([] { (void)load_manifest(root); }) != 0);
  CHECK(code_of([] { (void)parse_manifest(std::string(100'000, '['), "deep"); }) == json_too_deep.number);
  std::string nested = "1";
  for (int i = 0; i < 60; ++i) nested = "{\"a\":" + nested + "}";
  CHECK(code_of([&] { (void)parse_manifest("{\"quality_metrics\":" + nested + "}", "deep"); }) ==
        manifest_missing.number);
  CHECK(code_of([] { (void)parse_manifest("\"" + std::string(2 << 20, 'a') + "\"", "long"); }) ==
        json_too_large.number);
  const std::string long_key(100'000, 'a');
  CHECK(code_of([&] { (void)parse_manifest("{\"" + long_key + "\": 0}", "key"); }) == manifest_unknown_key.number);
}

TEST_CASE("a megabyte of unknown keys is refused", "[manifest]") {  // with a search for each it would take minutes
  std::string text = "{";
  for (int i = 0; text.size() < 1'000'000; ++i) text += "\"key_" + std::to_string(i) + "\":0,";
  text.back() = '}';
  CHECK(code_of([&] { (void)parse_manifest(text, "keys"); }) == manifest_missing.number);  // "/base_models" sorts first
}

TEST_CASE("an unknown key is told the nearest known one", "[manifest]") {
  const auto nearest = [](const char* parent, const char* key) { return detail::nearest_key(parent, key); };
  CHECK(nearest("/training/config", "learning_rat") == "/training/config/learning_rate");
  CHECK(nearest("/training/config", "grad_accumulation_steps") == "/training/config/gradient_accumulation_steps");
  CHECK(nearest("/training", "temperature") == "/training/decoding/temperature");
  CHECK(nearest("", "base_model") == "/base_models");
}

TEST_CASE("set_value overrides the file, keeps the origin, and is checked like the file", "[manifest]") {
  Manifest manifest = sql_manifest();
  CHECK(manifest.origin("/training/config/epochs") == "manifest");
  CHECK(manifest.origin("/training/config/max_steps") == "default");
  set_value(manifest, "training.config.epochs=2.5");
  set_value(manifest, "training.config.max_steps=7");
  set_value(manifest, "training.config.lr_scheduler=linear");
  set_value(manifest, "training.decoding.stop_sequences=[\"--\"]");
  CHECK(manifest.origin("/training/config/epochs") == "flag");
  const TrainingValues v = training_values(manifest);
  CHECK((v.epochs == 2.5 && v.max_steps == 7 && v.lr_scheduler == "linear"));
  CHECK(decoding_values(manifest).stop_sequences == std::vector<std::string>{"--"});
  CHECK(code_of([&] { set_value(manifest, "training.config.seed=-1"); }) == manifest_out_of_range.number);
  Manifest other = sql_manifest();
  CHECK(code_of([&] { set_value(other, "training.config.sed=1"); }) == manifest_unknown_key.number);
  for (const char* text : {"", "=", "epochs", "=3", "training..epochs=3", ".=1"}) {
    INFO(text);
    CHECK(code_of([&] { set_value(other, text); }) == manifest_bad_setting.number);
  }
}

TEST_CASE("the mission's values reach the stages", "[manifest]") {
  const Manifest manifest = sql_manifest();
  const TrainingValues t = training_values(manifest);
  CHECK((t.epochs == 1.5 && t.max_steps == -1 && t.learning_rate == 5e-5 && t.lr_scheduler == "cosine"));
  CHECK((t.warmup_steps == 0 && t.warmup_ratio == 0.1 && t.gradient_accumulation_steps == 2 && t.dropout == 0));
  CHECK((t.weight_decay == 0.01 && t.max_grad_norm == 1 && t.seed == 42));
  const DecodingValues d = decoding_values(manifest);
  CHECK((d.temperature == 0.1 && d.top_p == 0.9 && d.top_k == 50 && d.min_p == 0 && !d.schema_bound));
  CHECK(d.stop_sequences == std::vector<std::string>{";", "\n\n"});
  const DatasetValues s = dataset_values(manifest);
  CHECK((s.schema_injection_prob == 0.85 && s.table_aliases && !s.comment_stripping &&
         s.case_normalization == "preserve"));
  CHECK((s.min_length == 10 && s.max_length == 2048 && s.deduplicate));
  CHECK((!s.validate_json && !s.validate_schema));
  CHECK(manifest.find("/perf/latency_ms_overhead")->as_double() == 3);
  CHECK(manifest.find("/perf/vram_mb_overhead")->as_double() == 18);
}

TEST_CASE("defaults hold where the manifest is silent", "[manifest]") {
  const Manifest bare{"bare", manifest_of<Expert<DoRA<4>>>(), {}};
  const TrainingValues t = training_values(bare);
  CHECK(
      (t.epochs == 3 && t.learning_rate == 5e-5 && t.lr_scheduler == "linear" && t.seed == 42 && t.max_grad_norm == 1));
  CHECK((decoding_values(bare).temperature == 1 && decoding_values(bare).top_k == 50));
}

TEST_CASE("what no tool writes yet is a record", "[manifest]") {
  for (const std::string_view pointer : manifest_records_not_built) {
    INFO(pointer);
    const ManifestField* row = detail::find_field(pointer);
    CHECK((row && row->field_class == FieldClass::record));
  }
}

TEST_CASE("problems as JSON carry pointer, both values, policy and message", "[manifest]") {
  Manifest manifest = sql_manifest();
  set_value(manifest, "base_models.0.adapters.0.r=16");
  const Json list = to_json("m.json", all_problems<SqlExpert<>>(manifest.json));
  REQUIRE(list.items().size() == 1);
  const Json& row = list.items()[0];
  CHECK(row.find("pointer")->as_string() == "/base_models/0/adapters/0/r");
  CHECK(row.find("manifest")->as_string() == "16");
  CHECK(row.find("compiled")->as_string() == "12");
  CHECK(row.find("policy")->as_string() == type_name<DoRA<12>>());
  CHECK(row.find("message")->as_string().starts_with("EXPERT-E120: "));
}

}  // namespace manifest_test
