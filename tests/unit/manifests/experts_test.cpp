// The four experts: each manifest agrees with its type field by field, on Qwen3-0.6B and on the bundled base; what the
// experts share is the same in all, and what each one decodes by is its own.
#include <map>

#include "catch.hpp"
#include "expert/core/join.hpp"
#include "expert/manifest.hpp"
#include "expert/plan/memory.hpp"
#include "experts/expert-json/expert.hpp"
#include "experts/expert-neo4j/expert.hpp"
#include "experts/expert-sql/expert.hpp"
#include "experts/expert-typescript/expert.hpp"

namespace experts_test {
using namespace expert;

namespace {

Manifest manifest_of(const std::string& expert, const char* folder = "") {
  return load_manifest(std::string(EXPERT_SOURCE_DIR) + "/experts/" + expert + "/" + folder + "manifest.json");
}
template <class E, class Tiny>
void agree(const std::string& name) {
  INFO(name);
  const Manifest full = manifest_of(name), tiny = manifest_of(name, "tiny/");
  CHECK(mismatch_table(full.file, check_manifest<E>(full)).empty());
  CHECK(mismatch_table(tiny.file, check_manifest<Tiny>(tiny)).empty());
  CHECK(full.find("/name")->as_string() == name);
  for (const char* pointer : {"/base_models/0/rope_scaling", "/base_models/0/adapters", "/training/decoding", "/perf",
                              "/runtime", "/base_models/0/prompt_template"}) {
    INFO(pointer);
    CHECK(full.find(pointer)->dump() == tiny.find(pointer)->dump());
  }
}

const std::vector<std::string> names{"expert-sql", "expert-json", "expert-typescript", "expert-neo4j"};

}  // namespace

TEST_CASE("each expert's manifests agree with its types", "[experts]") {
  agree<SqlExpert<>, TinySqlExpert>("expert-sql");
  agree<JsonExpert<>, TinyJsonExpert>("expert-json");
  agree<TypeScriptExpert<>, TinyTypeScriptExpert>("expert-typescript");
  agree<Neo4jExpert<>, TinyNeo4jExpert>("expert-neo4j");
}

TEST_CASE("an expert's manifest is no other expert's", "[experts]") {
  CHECK(!check_manifest<JsonExpert<>>(manifest_of("expert-sql")).empty());
  CHECK(!check_manifest<SqlExpert<>>(manifest_of("expert-neo4j")).empty());
  CHECK(!check_manifest<TypeScriptExpert<>>(manifest_of("expert-json")).empty());
  CHECK(!check_manifest<Neo4jExpert<>>(manifest_of("expert-typescript")).empty());
}

TEST_CASE("what the four share is written alike", "[experts]") {
  const Manifest sql = manifest_of("expert-sql");
  for (const std::string& name : names)
    for (const char* pointer : {"/base_models", "/perf", "/runtime", "/training/config", "/schema_version"}) {
      INFO(name << " " << pointer);
      CHECK(manifest_of(name).find(pointer)->dump() == sql.find(pointer)->dump());
    }
}

TEST_CASE("the mission's values", "[experts]") {
  const std::map<std::string, std::string> decoding{
      {"expert-sql",
       R"({"use_grammar":true,"grammar_type":"sql-postgres","validation":"parser-strict","stop_sequences":[";","\n\n"],"temperature":0.1,"top_p":0.9,"top_k":50})"},
      {"expert-json",
       R"({"use_grammar":true,"grammar_type":"json","validation":"parser-strict","stop_sequences":[],"temperature":0.2,"top_p":0.9,"top_k":50})"},
      {"expert-typescript",
       R"({"use_grammar":true,"grammar_type":"typescript","validation":"parser-strict","stop_sequences":[],"temperature":0.2,"top_p":0.9,"top_k":50})"},
      {"expert-neo4j",
       R"({"use_grammar":true,"grammar_type":"cypher","validation":"parser-strict","stop_sequences":[";","\n\n"],"temperature":0.1,"top_p":0.9,"top_k":50})"}};
  const auto without_comments = [](const Json& from) {
    Json to = Json::object();
    for (const auto& [key, value] : from.members())
      if (!key.starts_with('_')) to.set(key, value);
    return to.dump();
  };
  for (const std::string& name : names) {
    INFO(name);
    const Manifest manifest = manifest_of(name);
    CHECK(without_comments(*manifest.find("/training/decoding")) == decoding.at(name));
    CHECK(
        without_comments(*manifest.find("/base_models/0/rope_scaling")) ==
        R"({"type":"ntk-by-parts","factor":8.0,"max_position_embeddings":32768,"original_max_position_embeddings":8192,"fine_grained":true})");
    CHECK(without_comments(*manifest.find("/perf")) ==
          R"({"latency_ms_overhead":3.0,"vram_mb_overhead":18,"supported_batch_sizes":[1,2,4,8]})");
    CHECK(without_comments(*manifest.find("/runtime")) ==
          R"({"candle_compatible":true,"requires_kv_cache_persistence":true,"attention_kernel":"flash-v2"})");
    CHECK(
        without_comments(*manifest.find("/training/dataset/augmentation")) ==
        R"({"schema_injection_prob":0.85,"table_aliases":true,"comment_stripping":false,"case_normalization":"preserve"})");
  }
}

TEST_CASE("the small manifests augment as the large ones, but for table aliases", "[experts]") {
  for (const std::string& name : names) {
    INFO(name);
    const Manifest full = manifest_of(name), tiny = manifest_of(name, "tiny/");
    const std::string at = "/training/dataset/augmentation/";
    CHECK(full.find(at + "table_aliases")->as_bool());
    CHECK(!tiny.find(at + "table_aliases")->as_bool());
    for (const char* key : {"comment_stripping", "case_normalization"})
      CHECK(full.find(at + key)->dump() == tiny.find(at + key)->dump());
  }
}

TEST_CASE("the comment of the batch block shows the planned bytes", "[experts]") {
  using Full = TrainingPlan<SqlExpert<>>;
  using Tiny = TrainingPlan<TinySqlExpert>;
  for (const std::string& name : names) {
    INFO(name);
    const Manifest full = manifest_of(name), tiny = manifest_of(name, "tiny/");
    const std::string large = full.find("/training/config/_comment")->as_string();
    CHECK(large.find(joined(
              {Full::sub_batch_rows, " rows run at once: ", Full::bytes(Full::max_tokens), " planned"})) != large.npos);
    CHECK(large.find(joined({"32 at once would take ", Full::bytes(32 * 2048)})) != large.npos);
    CHECK(
        tiny.find("/training/config/_comment")->as_string().find(joined({Tiny::bytes(Tiny::max_tokens), " planned"})) !=
        std::string::npos);
  }
}

TEST_CASE("every block carries a comment", "[experts]") {
  for (const std::string& name : names)
    for (const char* folder : {"", "tiny/"})
      for (const char* pointer : {"/base_models/0", "/base_models/0/rope_scaling", "/base_models/0/adapters/0", "/perf",
                                  "/runtime", "/training/dataset", "/training/dataset/augmentation",
                                  "/training/dataset/validation", "/training/config", "/training/decoding"}) {
        INFO(name << " " << folder << " " << pointer);
        const Manifest manifest = manifest_of(name, folder);
        const Json* comment = manifest.find(std::string(pointer) + "/_comment");
        CHECK((comment != nullptr && comment->as_string().size() > 10));
      }
}

}  // namespace experts_test
