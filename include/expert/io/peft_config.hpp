// adapter_config.json <-> PeftConfig: LoRA and DoRA as PEFT 0.21 saves them.
//
// PEFT ignores unknown keys with a warning and trains on the rest when one target name is misspelt; both change the
// numbers in silence, so both are errors here. Whatever this library does not compute must be absent, null, false or
// empty.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/limits.hpp"
#include "expert/core/sort.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/json/fields.hpp"
#include "expert/json/json.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode adapter_key_missing{260, "a required key is missing from an adapter's configuration"};
inline constexpr ErrorCode adapter_wrong_kind{261,
                                              "a value of an adapter's configuration is of another kind than expected"};
inline constexpr ErrorCode adapter_out_of_range{262, "a value of an adapter's configuration is out of range"};
inline constexpr ErrorCode adapter_unsupported{
    263, "an adapter's configuration asks for what this library does not compute"};
inline constexpr ErrorCode adapter_target{264, "an adapter's configuration names a module that is no projection"};

// LoraConfig under PEFT's names.
struct PeftConfig {
  std::int64_t r = 0;
  double lora_alpha = 0;
  double lora_dropout = 0;
  std::vector<std::string> target_modules;  // sorted, as PEFT writes them
  bool use_dora = false, use_rslora = false;
  bool inference_mode = true;
  std::optional<std::string> base_model_name_or_path, revision;

  // What multiplies B A: LoraLayer.scaling.
  double scaling() const {
    const auto rank = static_cast<double>(r);
    return lora_alpha / (use_rslora ? std::sqrt(rank) : rank);
  }
  friend bool operator==(const PeftConfig&, const PeftConfig&) = default;
};

namespace detail {

inline constexpr std::array<std::string_view, 7> projection_names{"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                                  "gate_proj", "up_proj", "down_proj"};

// The list, sorted. PEFT would take a string as a pattern over module names; which layers it hits depends on the model,
// so a checked list is demanded.
inline std::vector<std::string> parse_target_modules(const Fields& fields) {
  const Json& list = fields.require("target_modules");
  if (list.is_string())
    fields.fail(adapter_unsupported, "target_modules", "a list of names",
                "the pattern " + expert::quoted(list.as_string()), "Name the projections one by one");
  std::vector<std::string> names = fields.texts("target_modules");
  for (const std::string& name : names) {
    if (std::find(projection_names.begin(), projection_names.end(), name) != projection_names.end()) continue;
    const auto nearest =
        std::min_element(projection_names.begin(), projection_names.end(), [&](std::string_view a, std::string_view b) {
          const std::string_view start = std::string_view(name).substr(0, 32);
          return edit_distance(start, a) < edit_distance(start, b);
        });
    fields.fail(adapter_target, "target_modules", "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
                expert::quoted(name), "The nearest is " + std::string(*nearest));
  }
  sort_texts(names);
  if (names.empty()) fields.fail(adapter_target, "target_modules", "at least one projection", "an empty list");
  if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end())
    fields.fail(adapter_target, "target_modules", "each projection once", expert::quoted(*twice) + " twice");
  return names;
}

// Null, false, [], {}: what PEFT writes for a feature that is not used.
inline bool says_nothing(const Json& value) {
  return value.is_null() || (value.is_bool() && !value.as_bool()) || (value.is_array() && value.items().empty()) ||
         (value.is_object() && value.members().empty());
}

}  // namespace detail

// `file` is only named in messages. Throws E260 ... E264.
inline PeftConfig parse_peft_config(const Json& json, const std::string& file) {
  const Fields fields(json, file, "", {adapter_key_missing, adapter_wrong_kind, adapter_out_of_range});
  const auto only = [&](std::string_view key, std::string_view value) {
    if (fields.find(key) && fields.text(key) != value)
      fields.fail(adapter_unsupported, key, expert::quoted(value), fields.require(key).described());
  };
  const auto flag = [&](std::string_view key) { return fields.find(key) && fields.boolean(key); };
  const auto name = [&](std::string_view key) {
    return fields.find(key) ? std::optional(fields.text(key)) : std::nullopt;
  };
  fields.text("peft_type");
  only("peft_type", "LORA");
  only("task_type", "CAUSAL_LM");
  only("bias", "none");

  PeftConfig config;
  config.r = fields.integer("r", 1, 65536);
  config.lora_alpha = fields.number("lora_alpha", "a number above 0", [](double x) { return x > 0 && x < 1e9; });
  if (fields.find("lora_dropout"))
    config.lora_dropout =
        fields.number("lora_dropout", "a number from 0 on, below 1", [](double x) { return x >= 0 && x < 1; });
  config.use_dora = flag("use_dora");
  config.use_rslora = flag("use_rslora");
  config.inference_mode = flag("inference_mode");
  config.base_model_name_or_path = name("base_model_name_or_path");
  config.revision = name("revision");
  config.target_modules = detail::parse_target_modules(fields);

  // How A and B began does not matter once they are in the file, but other ways than these also change the base
  // weights.
  if (const Json* init = fields.find("init_lora_weights"))
    if (!init->is_bool() && !(init->is_string() && init->as_string() == "gaussian"))
      fields.fail(adapter_unsupported, "init_lora_weights", "true, false or \"gaussian\"", init->described(),
                  "Convert the adapter to plain LoRA with PEFT (path_initial_model_for_weight_conversion)");
  // Read above, informative, or read by PEFT only together with a key that must be empty here.
  static constexpr std::array<std::string_view, 18> accepted{
      "peft_type",         "task_type",        "bias",           "r",
      "lora_alpha",        "use_dora",         "use_rslora",     "lora_dropout",
      "inference_mode",    "revision",         "target_modules", "base_model_name_or_path",
      "peft_version",      "auto_mapping",     "runtime_config", "megatron_core",
      "qalora_group_size", "init_lora_weights"};
  for (const auto& [key, value] : json.members())
    if (std::find(accepted.begin(), accepted.end(), key) == accepted.end() && !detail::says_nothing(value))
      fields.fail(adapter_unsupported, key, "null, false or empty: this library computes without it", value.described(),
                  "Remove the key if the adapter does not need it, or correct its spelling");
  return config;
}

inline PeftConfig read_peft_config(const std::string& path, const Limits& limits = default_limits) {
  return parse_peft_config(read_json(path, limits.config_bytes, limits), path);
}

// The text that PEFT 0.21's save_pretrained writes for this configuration.
inline std::string peft_config_text(const PeftConfig& config) {
  Json targets = Json::array();
  for (const std::string& target : config.target_modules) targets.push(target);
  const auto name = [](const std::optional<std::string>& text) { return text ? Json(*text) : Json(); };
  const bool whole = config.lora_alpha == std::trunc(config.lora_alpha);  // PEFT declares an int
  Json json = Json::object();
  json.set("alora_invocation_tokens", {}).set("alpha_pattern", Json::object()).set("arrow_config", {});
  json.set("auto_mapping", {}).set("base_model_name_or_path", name(config.base_model_name_or_path));
  json.set("bias", "none").set("corda_config", {}).set("ensure_weight_tying", false).set("eva_config", {});
  json.set("exclude_modules", {}).set("fan_in_fan_out", false).set("inference_mode", config.inference_mode);
  json.set("init_lora_weights", true).set("kasa_config", {}).set("layer_replication", {}).set("layers_pattern", {});
  json.set("layers_to_transform", {}).set("loftq_config", Json::object());
  json.set("lora_alpha", whole ? Json(static_cast<std::int64_t>(config.lora_alpha)) : Json(config.lora_alpha));
  json.set("lora_bias", false).set("lora_dropout", config.lora_dropout).set("lora_ga_config", {});
  json.set("megatron_config", {}).set("megatron_core", "megatron.core").set("modules_to_save", {});
  json.set("monteclora_config", {}).set("peft_type", "LORA").set("peft_version", "0.21.2");
  json.set("qalora_group_size", 16).set("r", config.r).set("rank_pattern", Json::object());
  json.set("revision", name(config.revision)).set("target_modules", std::move(targets)).set("target_parameters", {});
  json.set("task_type", "CAUSAL_LM").set("trainable_token_indices", {}).set("use_bdlora", {});
  json.set("use_dora", config.use_dora).set("use_qalora", false).set("use_rslora", config.use_rslora);
  json.set("velora_config", {});
  return json.dump(2);
}

inline void write_peft_config(const std::string& path, const PeftConfig& config) {
  write_file(path, peft_config_text(config));
}

}  // namespace v0
}  // namespace expert
