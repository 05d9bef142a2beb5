// schemas/expert-manifest.schema.json is what the field table says: this test writes the schema from the table and
// compares. valijson then judges by that file what our own check judges: the manifests of the experts, and every row of
// manifest_cases.json that a JSON Schema can express.
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "catch.hpp"
#include "expert/core/join.hpp"
#include "expert/json/json.hpp"
#include "expert/json/manifest_schema.hpp"
#include "schema_judge.hpp"

using namespace expert;

namespace {

const std::string root = EXPERT_SOURCE_DIR;
const std::string schema_path = root + "/schemas/expert-manifest.schema.json";

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Json object(std::initializer_list<std::pair<std::string, Json>> members) {
  Json out = Json::object();
  for (const auto& [key, value] : members) out.set(key, value);
  return out;
}
Json list(std::initializer_list<Json> items) {
  Json out = Json::array();
  for (const Json& item : items) out.push(item);
  return out;
}

Json number_of(double x) {
  const auto whole = static_cast<std::int64_t>(x);
  return static_cast<double>(whole) == x ? Json(whole) : Json(x);
}
Json ranged(const char* type, const ManifestField& field) {
  Json out = object({{"type", Json(type)}});
  if (field.low > std::numeric_limits<double>::lowest())
    out.set(field.low_is_excluded ? "exclusiveMinimum" : "minimum", number_of(field.low));
  if (field.high < std::numeric_limits<double>::max()) out.set("maximum", number_of(field.high));
  return out;
}
Json pattern(const char* regex) { return object({{"type", Json("string")}, {"pattern", Json(regex)}}); }

Json schema_of(const ManifestField& field);

// The keys below a pointer, each with the schema of its field or of the section that it heads.
Json section(const std::string& pointer) {
  Json properties = Json::object(), patterns = object({{"^_", Json::object()}});
  for (const ManifestField& field : manifest_fields) {
    if (!field.pointer.starts_with(joined({pointer, "/"}))) continue;
    const std::string rest(field.pointer.substr(pointer.size() + 1));
    const std::string key = rest.substr(0, rest.find('/'));
    if (properties.find(key)) continue;
    const bool is_leaf = rest == key;
    if (const std::size_t star = key.find('*'); star != key.npos)
      patterns.set(joined({"^", key.substr(0, star), ".*", key.substr(star + 1), "$"}), schema_of(field));
    else
      properties.set(key, is_leaf ? schema_of(field) : section(joined({pointer, "/", key})));
  }
  return object({{"type", Json("object")},
                 {"properties", std::move(properties)},
                 {"patternProperties", std::move(patterns)},
                 {"additionalProperties", Json(false)}});
}

Json plain_schema_of(const ManifestField& field) {
  switch (field.kind) {
    case FieldKind::anything:
      return Json::object();
    case FieldKind::boolean:
      return object({{"type", Json("boolean")}});
    case FieldKind::integer:
      return ranged("integer", field);
    case FieldKind::number:
      return ranged("number", field);
    case FieldKind::integers:
      return object({{"type", Json("array")}, {"items", ranged("integer", field)}, {"uniqueItems", Json(true)}});
    case FieldKind::texts:
      return object({{"type", Json("array")},
                     {"items", object({{"type", Json("string")}, {"minLength", Json(1)}})},
                     {"uniqueItems", Json(true)}});
    case FieldKind::text_map:
      return object({{"type", Json("object")},
                     {"patternProperties", object({{"^_", Json::object()}})},
                     {"additionalProperties", object({{"type", Json("string")}})}});
    case FieldKind::empty_list:
      return object({{"type", Json("array")}, {"maxItems", Json(0)}});
    case FieldKind::one_object:
    case FieldKind::one_object_or_none:
      return object({{"type", Json("array")},
                     {"minItems", Json(field.kind == FieldKind::one_object ? 1 : 0)},
                     {"maxItems", Json(1)},
                     {"items", section(std::string(field.pointer) + "/0")}});
    case FieldKind::text:
      return object({{"type", Json("string")}});
    case FieldKind::name:
      return pattern("^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$");
    case FieldKind::version:
      return pattern("^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)([-+][A-Za-z0-9._+-]+)?$");
    case FieldKind::hash:
      return pattern("^([0-9a-f]{64})?$");
    case FieldKind::choice: {
      Json choices = Json::array();
      for (std::string_view rest = field.choices; !rest.empty();) {
        const std::string_view choice = rest.substr(0, rest.find('|'));
        choices.push(Json(std::string(choice)));
        rest.remove_prefix(std::min(rest.size(), choice.size() + 1));
      }
      return object({{"type", Json("string")}, {"enum", std::move(choices)}});
    }
  }
  return Json::object();
}

Json schema_of(const ManifestField& field) {
  constexpr std::string_view classes[] = {"Stated by a policy of slot ", "Read by ", "Written or compared by ",
                                          "For people", ""};
  if (field.field_class == FieldClass::refused)
    return object({{"description", Json("Refused: " + std::string(field.note))}, {"not", Json::object()}});
  Json out = plain_schema_of(field);
  if (field.pointer == "/training/config/fp16") out = object({{"const", Json(false)}});
  if (field.pointer == "/training/config/method") out = object({{"const", Json("sft")}});
  out.set("description",
          Json(std::string(classes[static_cast<std::size_t>(field.field_class)]) + std::string(field.note) + "."));
  return out;
}

std::string schema_text() {
  Json schema = object(
      {{"$schema", Json("http://json-schema.org/draft-07/schema#")},
       {"title", Json("Manifest of an expert, schema_version 2.0")},
       {"description", Json("Generated from the field table of the library. Keys that begin with _ are comments.")}});
  const Json top = section("");
  for (const auto& [key, value] : top.members()) schema.set(key, value);
  schema.set("required", list({Json("name"), Json("version"), Json("schema_version"), Json("base_models")}));
  return schema.dump(2) + "\n";
}

// By the committed file and an independent implementation.
bool valid_by_schema(const nlohmann::json& manifest) {
  static const std::string schema = text_of(schema_path);
  static cli::SchemaJudge fits("json", "");
  return fits(schema, manifest.dump());
}

}  // namespace

TEST_CASE("the committed schema is the field table's", "[manifest][schema]") {
  if (text_of(schema_path) != schema_text()) {
    std::ofstream("expert-manifest.schema.json", std::ios::binary) << schema_text();
    FAIL("schemas/expert-manifest.schema.json is stale: replace it by ./expert-manifest.schema.json, just written");
  }
}

TEST_CASE("the experts' manifests are valid by the schema", "[manifest][schema]") {
  int manifests = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root + "/experts")) {
    if (entry.path().filename() != "manifest.json") continue;
    INFO(entry.path());
    CHECK(valid_by_schema(nlohmann::json::parse(text_of(entry.path()))));
    ++manifests;
  }
  CHECK(manifests >= 9);
}

TEST_CASE("schema and check agree on each case that a schema can express", "[manifest][schema]") {
  const nlohmann::json cases = nlohmann::json::parse(text_of(root + "/tests/unit/manifest_cases.json"));
  const nlohmann::json manifest = nlohmann::json::parse(text_of(root + "/experts/expert-sql/manifest.json"));
  int refused = 0, accepted = 0;
  for (const nlohmann::json& row : cases) {
    if (row.contains("text")) continue;  // not a document
    const int code = row.at("code");
    if (code == manifest_contradiction.number) continue;         // between two fields
    if (row.at("name") == "a rank as a whole double") continue;  // 12.0 is an integer of draft-7, not to valijson
    nlohmann::json patched = manifest;
    const nlohmann::json set = row.value("set", nlohmann::json::object());
    for (const auto& [pointer, value] : set.items()) patched[nlohmann::json::json_pointer(pointer)] = value;
    const nlohmann::json removed = row.value("remove", nlohmann::json::array());
    for (const nlohmann::json& pointer : removed) {
      const nlohmann::json::json_pointer at(pointer.get<std::string>());
      if (patched.contains(at)) patched.at(at.parent_pointer()).erase(at.back());
    }
    INFO(row.dump());
    const bool wrong_alone = code >= manifest_unknown_key.number && code <= manifest_old_form.number;
    CHECK(valid_by_schema(patched) == !wrong_alone);
    ++(wrong_alone ? refused : accepted);
  }
  CHECK((refused >= 40 && accepted >= 20));
}
