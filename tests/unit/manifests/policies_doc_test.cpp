// docs/policies.md is what the code says: this test writes the page from the policies and the field table and compares.
#include <fstream>
#include <sstream>

#include "catch.hpp"
#include "expert/manifest.hpp"

namespace policies_doc_test {
using namespace expert;

namespace {

std::string cell(const std::string& text) {  // one table cell
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("&#124;") : std::string(1, c);
  return out;
}

std::string code(std::string_view text) { return std::string("`").append(text).append("`"); }

template <class P>
std::string policy_row(std::string_view spelling) {
  const DescribedPolicy policy = detail::describe_policy<P>();
  std::string fields;
  for (const Field& field : policy.fields)
    fields += (fields.empty() ? "" : "<br>") +
              (code(field.pointer) + " = " + cell(detail::to_json(field.value).dump())) +
              (field.presence == Presence::if_present ? " (if present)" : "");
  return "| " + policy.slot + " | `" + std::string(spelling) + "` | " + fields + " |\n";
}

std::string policies_table() {
  std::string t = "| slot | policy | what it states about the manifest |\n|---|---|---|\n";
  t += policy_row<Qwen3_0_6B>("Qwen3_0_6B (default)") + policy_row<Qwen3_1_7B>("Qwen3_1_7B") +
       policy_row<Qwen3_4B>("Qwen3_4B");
  t += policy_row<ExpertTiny>("ExpertTiny");
  t += policy_row<HfDecoder<64, 2, 4, 2, 16, 128, 515, false>>("HfDecoder<hidden_size, num_hidden_layers, ...>");
  t += policy_row<RopeDefault>("RopeDefault (default)") +
       policy_row<RopeNtkByParts<8192, 32768>>("RopeNtkByParts<8192, 32768, 8>");
  t += policy_row<RopeLinear<4>>("RopeLinear<4>") + policy_row<RopeDynamic<2>>("RopeDynamic<2>");
  t +=
      policy_row<RopeYarn<4, 32768>>("RopeYarn<4, 32768>") + policy_row<RopeYarn<4, 32768, 1>>("RopeYarn<4, 32768, 1>");
  t += policy_row<RopeLlama3<8, 8192>>("RopeLlama3<8, 8192>");
  t += policy_row<NoAdapter>("NoAdapter (default)") + policy_row<LoRA<8>>("LoRA<8>") +
       policy_row<RsLoRA<8>>("RsLoRA<8>");
  t += policy_row<DoRA<12>>("DoRA<12>") + policy_row<DoRAWithDropout<12>>("DoRAWithDropout<12>");
  t += policy_row<Bf16Weights>("Bf16Weights (default)") + policy_row<Int4Quant>("Int4Quant") +
       policy_row<Int8Quant>("Int8Quant");
  t += policy_row<Int4Affine<128>>("Int4Affine<128>");
  t += policy_row<HeadAsBase>("HeadAsBase (default)") + policy_row<HeadInt8>("HeadInt8");
  t += policy_row<Compute<bf16>>("Compute<bf16> (default)") + policy_row<Compute<f32>>("Compute<f32>");
  t += policy_row<SdpaAttention>("SdpaAttention (default)");
  t += policy_row<Packing<2048>>("Packing<2048> (default)") + policy_row<NoPacking<2048>>("NoPacking<2048>");
  t += policy_row<Batch<1>>("Batch<1> (default)");
  t += policy_row<AdapterOnly>("AdapterOnly (default)") + policy_row<FullFineTune>("FullFineTune");
  t += policy_row<KeepActivations>("KeepActivations (default)") + policy_row<RecomputeAttention>("RecomputeAttention");
  t += policy_row<RecomputeLayers>("RecomputeLayers") + policy_row<RecomputeToFit>("RecomputeToFit");
  t += policy_row<EvenChunks>("EvenChunks (default)") +
       policy_row<ChunkedCrossEntropy<256>>("ChunkedCrossEntropy<256>") +
       policy_row<RecomputedCrossEntropy<256>>("RecomputedCrossEntropy<256, 8192>");
  t += policy_row<AdamW>("AdamW (default)");
  t += policy_row<Muon>("Muon");
  t += policy_row<NoGrammar>("NoGrammar (default)") + policy_row<Grammar<SqlPostgres>>("Grammar<SqlPostgres>");
  t += policy_row<Grammar<JsonText>>("Grammar<JsonText>") + policy_row<Grammar<TypeScript>>("Grammar<TypeScript>");
  t += policy_row<Grammar<Cypher>>("Grammar<Cypher>");
  t += policy_row<NoValidation>("NoValidation (default)") + policy_row<Parser>("Parser") +
       policy_row<ParserStrict>("ParserStrict");
  t += policy_row<KvCache>("KvCache (default)") + policy_row<KvPersistence>("KvPersistence");
  t += policy_row<DecodeBatches<1, 2, 4, 8>>("DecodeBatches<1, 2, 4, 8> (default)");
  t += policy_row<Qwen3Chat>("Qwen3Chat (default)") + policy_row<PlainChat>("PlainChat");
  t += policy_row<Budget<24_GiB>>("Budget<24_GiB> (default)");
  return t;
}

std::string kind_of(const ManifestField& field) {
  constexpr std::string_view names[] = {"string",
                                        "name of a file",
                                        "version",
                                        "SHA-256",
                                        "",
                                        "list of strings",
                                        "integer",
                                        "list of integers",
                                        "number",
                                        "true or false",
                                        "object of strings",
                                        "anything",
                                        "list of one object",
                                        "list of at most one object",
                                        "empty list"};
  std::string text(names[static_cast<std::size_t>(field.kind)]);
  if (field.kind == FieldKind::choice) text = field.choices;
  if (field.low > std::numeric_limits<double>::lowest())
    text += (field.low_is_excluded ? " > " : " >= ") + detail::shortest(field.low);
  if (field.high < std::numeric_limits<double>::max()) text += ", <= " + detail::shortest(field.high);
  return cell(text);
}

std::string fields_table() {
  constexpr std::string_view classes[] = {"a: stated by a policy of slot", "b: read by", "c: written or compared by",
                                          "d: informative", "refused:"};
  std::string t = "| field | kind | who acts on it |\n|---|---|---|\n";
  const auto built = [](const ManifestField& field) {
    for (const std::string_view pointer : manifest_records_not_built)
      if (pointer == field.pointer) return " (not built yet)";
    return "";
  };
  for (const ManifestField& field : manifest_fields)
    t += std::string("| ") + code(field.pointer) + " | " + kind_of(field) + " | " +
         std::string(classes[static_cast<std::size_t>(field.field_class)]) + (field.note.empty() ? "" : " ") +
         cell(std::string(field.note)) + built(field) + " |\n";
  return t;
}

std::string page() {
  return R"(# Policies and manifest fields

Generated from the code; `policies_doc_test` fails where this page differs and writes the new one.

An expert is `Expert<policies...>`: one policy per slot, in any order, defaults in the empty slots. What a policy states,
the manifest must say too; an absent field is a mismatch unless marked *if present*.

## Policies

)" + policies_table() +
         R"(
## Fields

Class a is compared with the type, b is read when a stage runs, c is written by tools or measured and compared, d is for
people. A key that is not here is an error; a key that begins with `_` is a comment.

)" + fields_table();
}

}  // namespace

TEST_CASE("docs/policies.md is current", "[docs]") {
  const std::string path = std::string(EXPERT_SOURCE_DIR) + "/docs/policies.md";
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (text.str() != page()) {
    std::ofstream("policies.md", std::ios::binary) << page();
    FAIL("docs/policies.md is stale: replace it by ./policies.md, which this test has just written");
  }
}

TEST_CASE("every projected field is stated by a stock policy, and every field is listed once", "[docs]") {
  const std::string table = policies_table();
  for (const ManifestField& field : manifest_fields) {
    INFO(field.pointer);
    const bool is_structure = field.kind == FieldKind::one_object;
    if (field.field_class == FieldClass::projected && !is_structure)
      CHECK(table.find(code(field.pointer)) != table.npos);
    int rows = 0;
    for (const ManifestField& other : manifest_fields) rows += other.pointer == field.pointer;
    CHECK(rows == 1);
  }
}

}  // namespace policies_doc_test
