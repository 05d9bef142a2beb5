// A manifest file -> Manifest: checked on its own when it is loaded, against a compiled expert by check_manifest<E>,
// and read by the stages through TrainingValues, DecodingValues and DatasetValues.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/limits.hpp"
#include "expert/core/sort.hpp"
#include "expert/json/json.hpp"
#include "expert/json/manifest_schema.hpp"
#include "expert/policy/assemble.hpp"
#include "expert/policy/type_name.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode manifest_mismatch{120, "a manifest does not match the compiled expert"};
inline constexpr ErrorCode manifest_bad_setting{112, "a setting is not of the form path=value"};

struct Manifest {
  std::string file;  // as the caller named it
  Json json;
  std::vector<std::string> set_by_flag;  // pointers that set_value changed

  const Json* find(std::string_view pointer) const { return json.at_pointer(pointer); }
  // Where the value that a stage reads at this pointer comes from: flag, manifest or default.
  std::string_view origin(std::string_view pointer) const {
    if (std::find(set_by_flag.begin(), set_by_flag.end(), pointer) != set_by_flag.end()) return "flag";
    return find(pointer) ? "manifest" : "default";
  }
};

inline Error as_error(const std::string& file, const Problem& problem) {
  return Error(problem.code, {.file = file,
                              .where = shown_pointer(problem.pointer),
                              .expected = problem.expected,
                              .got = problem.manifest,
                              .fix = problem.fix});
}

// Throws the first problem in the order of pointers, saying how many more there are.
inline void require_sound(const Manifest& manifest) {
  std::vector<Problem> problems = manifest_problems(manifest.json);
  if (problems.empty()) return;
  if (problems.size() > 1)
    problems[0].fix += (problems[0].fix.empty() ? "" : ". ") + std::to_string(problems.size() - 1) + " more problem" +
                       (problems.size() > 2 ? "s" : "") + " in this manifest";
  throw as_error(manifest.file, problems[0]);
}

// Throw what the JSON reader throws, then E101 ... E111.
inline Manifest parse_manifest(std::string_view text, std::string file, const Limits& limits = default_limits) {
  Manifest manifest{file, parse_json(text, file, limits.manifest_bytes, limits), {}};
  require_sound(manifest);
  return manifest;
}
inline Manifest load_manifest(const std::string& path, const Limits& limits = default_limits) {
  Manifest manifest{path, read_json(path, limits.manifest_bytes, limits), {}};
  require_sound(manifest);
  return manifest;
}

namespace detail {

inline Json with_value(const Json& node, std::span<const std::string> path, Json value) {
  if (path.empty()) return value;
  if (node.is_array()) {
    Json copy = Json::array();
    for (std::size_t i = 0; i < node.items().size(); ++i)
      copy.push(std::to_string(i) == path[0] ? with_value(node.items()[i], path.subspan(1), value) : node.items()[i]);
    return copy;
  }
  Json copy = node.is_object() ? node : Json::object();
  const Json* child = node.find(path[0]);
  copy.set(path[0], with_value(child ? *child : Json::object(), path.subspan(1), std::move(value)));
  return copy;
}

}  // namespace detail

// "training.config.learning_rate=1e-4": the value is JSON where it parses as JSON, else a string. What it makes of the
// manifest is checked as if the file had said so. Throws E112, E101 ... E111.
inline void set_value(Manifest& manifest, std::string_view setting) {
  const std::size_t equals = setting.find('=');
  std::vector<std::string> path;
  std::string pointer;
  std::string_view rest = setting.substr(0, std::min(equals, setting.size()));
  for (bool more = equals != setting.npos; more;) {
    const std::size_t dot = rest.find('.');
    path.emplace_back(rest.substr(0, dot));
    pointer = detail::child_pointer(pointer, path.back());
    more = dot != rest.npos;
    if (more) rest.remove_prefix(dot + 1);
  }
  if (path.empty() || path.size() > 16 || std::any_of(path.begin(), path.end(), [](auto& key) { return key.empty(); }))
    throw Error(manifest_bad_setting, {.file = {},
                                       .where = "--set",
                                       .expected = "path=value, for example training.config.learning_rate=1e-4",
                                       .got = quoted(setting),
                                       .fix = {}});
  const std::string text(setting.substr(equals + 1));
  Json value(text);
  try {
    value = parse_json(text, "--set", default_limits.manifest_bytes);
  } catch (const Error&) {  // not JSON: a plain word
  }
  manifest.json = detail::with_value(manifest.json, path, std::move(value));
  manifest.set_by_flag.push_back(pointer);
  require_sound(manifest);
}

// ---- against the compiled type

struct Mismatch {
  std::string pointer, manifest, compiled, policy;  // manifest is "(absent)" where the pointer leads nowhere
  friend bool operator==(const Mismatch&, const Mismatch&) = default;
};

// One policy of an expert, as text and as the fields that it states.
struct DescribedPolicy {
  std::string name, slot;
  std::span<const Field> fields;
};

namespace detail {

template <class P>
inline constexpr auto fields_of = P::describe();

template <class P>
DescribedPolicy describe_policy() {
  std::string slot = type_name<typename P::slot>();
  return {type_name<P>(), slot.substr(slot.rfind(':') + 1), std::span<const Field>(fields_of<P>)};
}
template <class... Ps>
std::vector<DescribedPolicy> describe_policies(PolicyList<Ps...>) {
  return {describe_policy<Ps>()...};
}

inline Json to_json(const Value& value) {
  const auto list = [](const auto& items) {
    Json array = Json::array();
    for (const auto& item : items) array.push(Json(item));
    return array;
  };
  switch (value.kind) {
    case Value::Kind::boolean:
      return Json(value.boolean);
    case Value::Kind::integer:
      return Json(value.integer);
    case Value::Kind::number:
      return Json(value.number);
    case Value::Kind::text:
      return Json(value.text);
    case Value::Kind::texts:
      return list(value.texts);
    case Value::Kind::integers:
      break;
  }
  return list(value.integers);
}

// Numbers compare by value (8 equals 8.0), lists as sets.
inline bool equal_values(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number())
    return a.is_int64() && b.is_int64() ? a.as_int() == b.as_int() : a.as_double() == b.as_double();
  if (a.is_bool() && b.is_bool()) return a.as_bool() == b.as_bool();
  if (a.is_string() && b.is_string()) return a.as_string() == b.as_string();
  if (!a.is_array() || !b.is_array() || a.items().size() != b.items().size()) return false;
  return std::all_of(a.items().begin(), a.items().end(), [&](const Json& x) {
    return std::any_of(b.items().begin(), b.items().end(),
                       [&](const Json& y) { return !y.is_array() && equal_values(x, y); });
  });
}

// Not a template over experts: it sees tables.
inline std::vector<Mismatch> check_fields(const Json& manifest, const std::vector<DescribedPolicy>& policies) {
  std::vector<Mismatch> found;
  std::vector<std::string_view> stated;
  for (const DescribedPolicy& policy : policies)
    for (const Field& field : policy.fields) {
      stated.push_back(field.pointer);
      const Json compiled = to_json(field.value);
      const Json* actual = manifest.at_pointer(field.pointer);
      if (!actual && field.presence == Presence::if_present) continue;
      if (!actual || !equal_values(*actual, compiled))
        found.push_back(
            {std::string(field.pointer), actual ? shown(*actual) : "(absent)", compiled.dump(), policy.name});
    }
  for (const ManifestField& field : manifest_fields) {  // a projected field that no policy of this expert states
    const bool is_structure = field.kind == FieldKind::one_object || field.kind == FieldKind::one_object_or_none;
    if (field.field_class != FieldClass::projected || is_structure) continue;
    if (std::find(stated.begin(), stated.end(), field.pointer) != stated.end()) continue;
    const Json* actual = manifest.at_pointer(field.pointer);
    const auto filler =
        std::find_if(policies.begin(), policies.end(), [&](const auto& p) { return p.slot == field.note; });
    if (actual)
      found.push_back({std::string(field.pointer), shown(*actual), "(absent)",
                       filler == policies.end() ? std::string(field.note) : filler->name});
  }
  return found;
}

// PEFT's DoRA takes a second product with the base weight as soon as dropout is above 0: another policy.
template <class Adapter>
void check_dropout(const Json& manifest, std::vector<Mismatch>& found) {
  if constexpr (requires { Adapter::is_dora && Adapter::dropout_product; }) {
    constexpr std::string_view pointer = "/base_models/0/adapters/0/dropout";
    const Json* dropout = manifest.at_pointer(pointer);
    const bool drops = dropout && dropout->is_number() && dropout->as_double() > 0;
    if (Adapter::is_dora && drops != Adapter::dropout_product)
      found.push_back(
          {std::string(pointer), dropout ? shown(*dropout) : "(absent)",
           Adapter::dropout_product ? "above 0 (without dropout it is DoRA)" : "0 (with dropout it is DoRAWithDropout)",
           type_name<Adapter>()});
  }
}

}  // namespace detail

// Every policy of E in canonical order, with what it states about the manifest.
template <class E>
std::vector<DescribedPolicy> describe() {
  return detail::describe_policies(typename E::policies{});
}

// Every field in which manifest and type disagree, sorted by pointer; empty where the expert is the manifest's.
template <class E>
std::vector<Mismatch> check_manifest(const Json& manifest) {
  std::vector<Mismatch> found = detail::check_fields(manifest, describe<E>());
  detail::check_dropout<typename E::adapter>(manifest, found);
  sort_list(found, [](const Mismatch& a, const Mismatch& b) { return a.pointer < b.pointer; });
  return found;
}
template <class E>
std::vector<Mismatch> check_manifest(const Manifest& manifest) {
  return check_manifest<E>(manifest.json);
}

// Everything that is wrong, on its own and against E, each pointer once: where a value is unsound, it is not also
// compared.
template <class E>
std::vector<Problem> all_problems(const Json& manifest) {
  std::vector<Problem> problems = manifest_problems(manifest);
  const std::size_t unsound = problems.size();
  for (const Mismatch& m : check_manifest<E>(manifest)) {
    const bool reported =
        std::any_of(problems.begin(), problems.begin() + static_cast<std::ptrdiff_t>(unsound), [&](const Problem& p) {
          return (m.pointer + "/").starts_with(p.pointer + "/") || p.pointer.starts_with(m.pointer + "/");
        });
    if (!reported)
      problems.push_back({manifest_mismatch, m.pointer, m.manifest, m.compiled,
                          "Edit the manifest, or compile another policy than " + m.policy, m.policy});
  }
  sort_list(problems, [](const Problem& a, const Problem& b) { return a.pointer < b.pointer; });
  return problems;
}

// The list as a table of four columns; empty text for an empty list.
inline std::string mismatch_table(const std::string& file, const std::vector<Mismatch>& mismatches) {
  if (mismatches.empty()) return {};
  std::vector<Mismatch> rows = mismatches;
  rows.insert(rows.begin(), {"pointer", "manifest", "compiled", "policy"});
  std::size_t pointer = 0, manifest = 0, compiled = 0;
  for (const Mismatch& row : rows) {
    pointer = std::max(pointer, row.pointer.size());
    manifest = std::max(manifest, row.manifest.size());
    compiled = std::max(compiled, row.compiled.size());
  }
  std::string text = file + " does not match the compiled expert: " + std::to_string(mismatches.size()) + " field" +
                     (mismatches.size() == 1 ? "" : "s") + "\n";
  const auto cell = [&](const std::string& value, std::size_t width) {
    text += value + std::string(width - value.size() + 2, ' ');
  };
  for (const Mismatch& row : rows) {
    text += "  ";
    cell(row.pointer, pointer), cell(row.manifest, manifest), cell(row.compiled, compiled);
    text += row.policy + "\n";
  }
  return text;
}

// What `validate` prints with --json: a list of {code, pointer, manifest, compiled, policy, message}.
inline Json to_json(const std::string& file, const std::vector<Problem>& problems) {
  Json list = Json::array();
  for (const Problem& p : problems) {
    Json row = Json::object();
    row.set("code", p.code.number), row.set("pointer", p.pointer), row.set("manifest", p.manifest);
    row.set("compiled", p.expected), row.set("policy", p.policy), row.set("message", as_error(file, p).what());
    list.push(std::move(row));
  }
  return list;
}

// ---- what the stages read at run time

// /training/config and the adapter's dropout; defaults are those of transformers' TrainingArguments.
struct TrainingValues {
  double epochs = 3;
  std::int64_t max_steps = -1;  // > 0: takes precedence over epochs
  double learning_rate = 5e-5, weight_decay = 0, max_grad_norm = 1;
  std::string lr_scheduler = "linear";
  std::int64_t warmup_steps = 0;
  double warmup_ratio = 0;  // of all steps; used where warmup_steps is 0
  std::int64_t gradient_accumulation_steps = 1;
  std::uint64_t seed = 42;
  bool group_by_length = false;
  double dropout = 0;
  std::int64_t logging_steps = 10;
  std::string save_strategy = "steps";
  std::int64_t save_steps = 500, save_total_limit = 0;  // 0: all are kept
  std::string evaluation_strategy = "no";
  std::int64_t eval_steps = 500;
  bool eval_on_start = false, load_best_model_at_end = false, greater_is_better = false;
  std::string metric_for_best_model = "eval_loss";
  std::int64_t early_stopping_patience = 0;  // 0: never stops early
  double early_stopping_threshold = 0;
};

// /training/decoding; defaults are those of transformers' GenerationConfig.
struct DecodingValues {
  double temperature = 1;  // 0: greedy
  double top_p = 1, min_p = 0;
  std::int64_t top_k = 50;    // 0: off
  bool schema_bound = false;  // the grammar offers the names of the prompt's schema only
  std::vector<std::string> stop_sequences;
};

struct DatasetValues {
  std::string path, validation_path, test_path;
  std::vector<std::pair<std::string, std::string>> field_mapping;  // our name -> the name in the file
  double schema_injection_prob = 1;
  bool table_aliases = false, comment_stripping = false;
  std::string case_normalization = "preserve";
  std::int64_t min_length = 0, max_length = 0;  // 0: no bound
  bool deduplicate = false, validate_json = false, validate_schema = false;
  bool streaming = false;
};

namespace detail {

// Kinds and ranges were checked when the manifest was loaded.
struct ManifestReader {
  const Manifest& manifest;
  std::string section;

  const Json* find(std::string_view key) const { return manifest.find(section + "/" + std::string(key)); }
  void read(std::string_view key, double& to) const {
    if (const Json* value = find(key)) to = value->as_double();
  }
  void read(std::string_view key, std::int64_t& to) const {
    if (const Json* value = find(key)) to = value->as_int();
  }
  void read(std::string_view key, bool& to) const {
    if (const Json* value = find(key)) to = value->as_bool();
  }
  void read(std::string_view key, std::string& to) const {
    if (const Json* value = find(key)) to = value->as_string();
  }
};

}  // namespace detail

inline TrainingValues training_values(const Manifest& manifest) {
  TrainingValues v;
  const detail::ManifestReader config{manifest, "/training/config"};
  config.read("epochs", v.epochs), config.read("max_steps", v.max_steps);
  config.read("learning_rate", v.learning_rate), config.read("weight_decay", v.weight_decay);
  config.read("max_grad_norm", v.max_grad_norm), config.read("lr_scheduler", v.lr_scheduler);
  config.read("warmup_steps", v.warmup_steps), config.read("warmup_ratio", v.warmup_ratio);
  config.read("gradient_accumulation_steps", v.gradient_accumulation_steps);
  config.read("group_by_length", v.group_by_length);
  config.read("logging_steps", v.logging_steps), config.read("save_strategy", v.save_strategy);
  config.read("save_steps", v.save_steps), config.read("save_total_limit", v.save_total_limit);
  config.read("evaluation_strategy", v.evaluation_strategy), config.read("eval_steps", v.eval_steps);
  config.read("eval_on_start", v.eval_on_start), config.read("load_best_model_at_end", v.load_best_model_at_end);
  config.read("metric_for_best_model", v.metric_for_best_model);
  config.read("greater_is_better", v.greater_is_better);
  config.read("early_stopping_patience", v.early_stopping_patience);
  config.read("early_stopping_threshold", v.early_stopping_threshold);
  if (const Json* seed = config.find("seed")) v.seed = static_cast<std::uint64_t>(seed->as_int());
  detail::ManifestReader{manifest, "/base_models/0/adapters/0"}.read("dropout", v.dropout);
  return v;
}

inline DecodingValues decoding_values(const Manifest& manifest) {
  DecodingValues v;
  const detail::ManifestReader decoding{manifest, "/training/decoding"};
  decoding.read("temperature", v.temperature), decoding.read("top_p", v.top_p);
  decoding.read("top_k", v.top_k), decoding.read("min_p", v.min_p);
  decoding.read("schema_bound", v.schema_bound);
  if (const Json* list = decoding.find("stop_sequences"))
    for (const Json& text : list->items()) v.stop_sequences.push_back(text.as_string());
  return v;
}

inline DatasetValues dataset_values(const Manifest& manifest) {
  DatasetValues v;
  const detail::ManifestReader dataset{manifest, "/training/dataset"};
  dataset.read("path", v.path), dataset.read("validation_path", v.validation_path),
      dataset.read("test_path", v.test_path);
  if (const Json* mapping = dataset.find("field_mapping"))
    for (const auto& [ours, theirs] : mapping->members())
      if (!ours.starts_with('_')) v.field_mapping.emplace_back(ours, theirs.as_string());
  dataset.read("streaming", v.streaming);
  const detail::ManifestReader augmentation{manifest, "/training/dataset/augmentation"};
  augmentation.read("schema_injection_prob", v.schema_injection_prob),
      augmentation.read("table_aliases", v.table_aliases);
  augmentation.read("comment_stripping", v.comment_stripping);
  augmentation.read("case_normalization", v.case_normalization);
  const detail::ManifestReader validation{manifest, "/training/dataset/validation"};
  validation.read("min_length", v.min_length), validation.read("max_length", v.max_length);
  validation.read("deduplicate", v.deduplicate);
  validation.read("validate_json", v.validate_json), validation.read("validate_schema", v.validate_schema);
  return v;
}

}  // namespace v0
}  // namespace expert
