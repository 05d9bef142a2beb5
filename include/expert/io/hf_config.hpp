// config.json -> HfConfig; generation_config.json -> GenerationConfig. Both as transformers 4.x and 5.x write them.
//
// What transformers takes in silence and computes differently for is an error here: a misspelt or missing rope_theta, a
// rope_scaling of an unknown type, keys of 4.x and 5.x that contradict each other, features that this library has not.
// Other unknown keys are ignored, as there. Errors: E20x, E21x for the text, E230 ... E234 with the JSON pointer.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/dtype.hpp"
#include "expert/core/error.hpp"
#include "expert/core/limits.hpp"
#include "expert/json/fields.hpp"
#include "expert/json/json.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode config_key_missing{230, "a required key is missing from a model's configuration"};
inline constexpr ErrorCode config_wrong_kind{231,
                                             "a value of a model's configuration is of another kind than expected"};
inline constexpr ErrorCode config_out_of_range{232, "a value of a model's configuration is out of range"};
inline constexpr ErrorCode config_contradiction{233, "two values of a model's configuration contradict each other"};
inline constexpr ErrorCode config_unsupported{234,
                                              "a model's configuration asks for what this library does not compute"};

// transformers' rope_parameters, with its defaults.
struct RopeConfig {
  std::string rope_type = "default";  // default, linear, dynamic, yarn or llama3
  double rope_theta = 0;
  double factor = 1;
  std::int64_t original_max_position_embeddings = 0;  // yarn, llama3; where not stated, max_position_embeddings
  std::optional<double> attention_factor = {};        // yarn; where absent, 0.1 ln(factor) + 1
  double beta_fast = 32, beta_slow = 1;               // yarn
  double low_freq_factor = 0, high_freq_factor = 0;   // llama3
  friend bool operator==(const RopeConfig&, const RopeConfig&) = default;
};

// The part of Qwen3Config that decides shapes and numbers, under its names.
struct HfConfig {
  std::int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_hidden_layers = 0, num_attention_heads = 0,
               num_key_value_heads = 0;
  std::int64_t head_dim = 128;  // Qwen3Config's default; it is not derived from hidden_size
  std::int64_t max_position_embeddings = 0;
  double rms_norm_eps = 0;
  bool tie_word_embeddings = false;
  double initializer_range = 0.02;
  RopeConfig rope;
  bool serialised_nf4 = false;  // projections as bitsandbytes saves them (io/serialised_nf4.hpp)
  std::optional<DType> dtype;   // informative: each tensor states its own
  std::vector<std::int64_t> eos_token_id;
  std::optional<std::int64_t> bos_token_id, pad_token_id;
};

// What is absent or null in the file is absent here: the caller's defaults hold.
struct GenerationConfig {
  std::vector<std::int64_t> eos_token_id;
  std::optional<std::int64_t> bos_token_id, pad_token_id, top_k, max_new_tokens;
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
};

namespace detail {

inline constexpr FieldCodes config_codes{config_key_missing, config_wrong_kind, config_out_of_range};
inline constexpr std::int64_t largest_size = INT32_MAX;
// Caps far above any model, so that sums and products of sizes fit and tables made from them stay small.
inline constexpr std::int64_t most_layers = 10'000;
inline constexpr std::int64_t most_parameters = std::int64_t{1} << 40;

// A token id below vocab_size, or nothing where the key is absent or null.
inline std::optional<std::int64_t> token_id(const Fields& fields, std::string_view key, std::int64_t vocab_size) {
  if (!fields.find(key)) return std::nullopt;
  return fields.integer(key, 0, vocab_size - 1);
}
// The same for eos_token_id, which may be one id or a list.
inline std::vector<std::int64_t> token_ids(const Fields& fields, std::string_view key, std::int64_t vocab_size) {
  const Json* ids = fields.find(key);
  if (!ids) return {};
  if (!ids->is_array()) return {*token_id(fields, key, vocab_size)};
  std::vector<std::int64_t> out;
  for (const Json& id : ids->items()) {
    if (!id.is_integer()) fields.fail(config_wrong_kind, key, "token ids", "in it " + id.described());
    if (id.as_int() < 0 || id.as_int() >= vocab_size)
      fields.fail(config_out_of_range, key, "token ids below " + std::to_string(vocab_size), id.dump());
    out.push_back(id.as_int());
  }
  return out;
}

// One dict of RoPE parameters: rope_scaling of 4.x ("type" or "rope_type") or rope_parameters of 5.x. theta stays 0
// where the dict has none.
inline RopeConfig parse_rope(const Fields& fields, std::int64_t max_position_embeddings) {
  RopeConfig rope;
  const Json *type = fields.find("rope_type"), *old_type = fields.find("type");
  if (type || old_type) rope.rope_type = fields.text(type ? "rope_type" : "type");
  if (type && old_type && fields.text("type") != rope.rope_type)
    fields.fail(config_contradiction, "type", "the value of " + fields.pointer("rope_type"), old_type->described());

  struct Parameter {
    std::string_view key, types;  // read for these types, refused for others: it would do nothing there
  };
  static constexpr std::array<Parameter, 7> parameters{{{"factor", "linear dynamic yarn llama3"},
                                                        {"original_max_position_embeddings", "yarn llama3"},
                                                        {"attention_factor", "yarn"},
                                                        {"beta_fast", "yarn"},
                                                        {"beta_slow", "yarn"},
                                                        {"low_freq_factor", "llama3"},
                                                        {"high_freq_factor", "llama3"}}};
  const auto one_of = [&](std::string_view types) {  // separated by spaces
    while (!types.empty()) {
      const std::string_view word = types.substr(0, types.find(' '));
      if (word == rope.rope_type) return true;
      types.remove_prefix(std::min(types.size(), word.size() + 1));
    }
    return false;
  };
  if (!one_of("default linear dynamic yarn llama3"))
    fields.fail(config_unsupported, type ? "rope_type" : "type", "one of default, linear, dynamic, yarn, llama3",
                expert::quoted(rope.rope_type));
  for (const auto& [key, value] : fields.object().members()) {
    if (value.is_null() || key == "rope_type" || key == "type" || key == "rope_theta") continue;
    if (key == "partial_rotary_factor" && value.is_number() && value.as_double() == 1) continue;
    if (key == "truncate" && rope.rope_type == "yarn" && value.is_bool() && value.as_bool()) continue;
    bool known = false;
    for (const Parameter& parameter : parameters) known |= key == parameter.key && one_of(parameter.types);
    if (!known)
      fields.fail(config_unsupported, key, "only parameters of rope_type " + expert::quoted(rope.rope_type),
                  value.described(), "Correct or remove the key");
  }

  const auto positive = [](double x) { return x > 0 && x < 1e30; };
  if (fields.find("rope_theta"))
    rope.rope_theta = fields.number("rope_theta", "a number above 1", [](double x) { return x > 1 && x < 1e30; });
  if (rope.rope_type == "default") return rope;
  rope.factor = fields.number("factor", "a number from 1 on", [](double x) { return x >= 1 && x < 1e30; });
  if (rope.rope_type == "yarn" || rope.rope_type == "llama3")
    rope.original_max_position_embeddings = fields.find("original_max_position_embeddings")
                                                ? fields.integer("original_max_position_embeddings", 1, largest_size)
                                                : max_position_embeddings;
  if (rope.rope_type == "yarn") {
    if (fields.find("attention_factor"))
      rope.attention_factor = fields.number("attention_factor", "a number above 0", positive);
    if (fields.find("beta_fast")) rope.beta_fast = fields.number("beta_fast", "a number above 0", positive);
    if (fields.find("beta_slow")) rope.beta_slow = fields.number("beta_slow", "a number above 0", positive);
    if (rope.beta_fast <= rope.beta_slow)
      fields.fail(config_contradiction, "beta_fast", "more than beta_slow, " + Json(rope.beta_slow).dump(),
                  Json(rope.beta_fast).dump());
  }
  if (rope.rope_type == "llama3") {
    rope.low_freq_factor = fields.number("low_freq_factor", "a number above 0", positive);
    rope.high_freq_factor = fields.number("high_freq_factor", "a number above 0", positive);
    if (rope.high_freq_factor <= rope.low_freq_factor)
      fields.fail(config_contradiction, "high_freq_factor",
                  "more than low_freq_factor, " + Json(rope.low_freq_factor).dump(),
                  Json(rope.high_freq_factor).dump());
  }
  return rope;
}

// rope_theta beside rope_scaling (4.x), rope_parameters (5.x), or both where they say the same.
inline RopeConfig parse_ropes(const Fields& config, const std::string& file, std::int64_t max_position_embeddings) {
  std::optional<RopeConfig> rope;
  std::string theta_from, rope_from;
  double theta = 0;
  const auto take_theta = [&](const Fields& fields, const std::string& pointer, double value) {
    if (theta != 0 && value != 0 && theta != value)
      fields.fail(config_contradiction, "rope_theta", Json(theta).dump() + " as at " + theta_from, Json(value).dump());
    if (value != 0) theta = value, theta_from = pointer;
  };
  if (config.find("rope_theta"))
    take_theta(config, "/rope_theta",
               config.number("rope_theta", "a number above 1", [](double x) { return x > 1 && x < 1e30; }));
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const Json* dict = config.find(key);
    if (!dict) continue;
    const Fields fields(*dict, file, std::string("/") + key, config_codes);
    if (dict->members().empty()) continue;
    RopeConfig parsed = parse_rope(fields, max_position_embeddings);
    take_theta(fields, fields.pointer("rope_theta"), parsed.rope_theta);
    parsed.rope_theta = 0;  // compared above
    if (rope && parsed != *rope)
      config.fail(config_contradiction, key, "the same RoPE parameters as at " + rope_from, dict->dump());
    rope = parsed;
    rope_from = config.pointer(key);
  }
  if (theta == 0)
    config.fail(config_key_missing, "rope_theta", "/rope_theta or /rope_parameters/rope_theta", "neither",
                "State it: transformers would compute with 10000");
  RopeConfig result = rope.value_or(RopeConfig{});
  result.rope_theta = theta;
  return result;
}

// "dtype" (5.x) and "torch_dtype" (4.x) name the type in which the model was saved.
inline std::optional<DType> parse_dtype(const Fields& config) {
  std::optional<DType> dtype;
  for (const char* key : {"dtype", "torch_dtype"}) {
    if (!config.find(key)) continue;
    const std::string& name = config.text(key);
    const DType value = name == "bfloat16" ? DType::BF16 : name == "float16" ? DType::F16 : DType::F32;
    if (value == DType::F32 && name != "float32")
      config.fail(config_unsupported, key, "float32, bfloat16 or float16", expert::quoted(name));
    if (dtype && *dtype != value)
      config.fail(config_contradiction, key, "the value of /dtype, " + expert::quoted(config.text("dtype")),
                  expert::quoted(name));
    dtype = value;
  }
  return dtype;
}

// A key that may be left out is never missed when it is misspelt, and the model would compute something else.
inline void refuse_misspelt_keys(const Fields& config) {
  static constexpr std::array<std::string_view, 10> optional_keys{
      "head_dim",           "tie_word_embeddings", "rope_scaling", "rope_parameters",     "rope_theta",
      "use_sliding_window", "attention_bias",      "layer_types",  "quantization_config", "attention_dropout"};
  for (const auto& [key, value] : config.object().members())
    for (const std::string_view known : optional_keys)
      if (key != known && key.size() <= known.size() + 2 && edit_distance(key, known) <= 2)
        config.fail(config_unsupported, key, "the key " + std::string(known), "a key that differs by a letter or two",
                    "Correct the key, or remove it");
}

}  // namespace detail

// `file` is only named in messages. What a checkpoint of the architecture must state is required, because transformers'
// defaults are those of the 8B model; what it may leave out has transformers' default.
inline HfConfig parse_hf_config(const Json& json, const std::string& file) {
  using detail::largest_size;
  const Fields fields(json, file, "", detail::config_codes);
  if (fields.text("model_type") != "qwen3")
    fields.fail(config_unsupported, "model_type", "\"qwen3\"", fields.require("model_type").described());
  detail::refuse_misspelt_keys(fields);
  const auto size = [&](std::string_view key) { return fields.integer(key, 1, largest_size); };
  HfConfig config;
  config.vocab_size = size("vocab_size");
  config.hidden_size = size("hidden_size");
  config.intermediate_size = size("intermediate_size");
  config.num_hidden_layers = fields.integer("num_hidden_layers", 1, detail::most_layers);
  config.num_attention_heads = size("num_attention_heads");
  fields.require("num_key_value_heads");  // null means as many as query heads
  config.num_key_value_heads =
      fields.find("num_key_value_heads") ? size("num_key_value_heads") : config.num_attention_heads;
  if (json.find("head_dim")) config.head_dim = size("head_dim");
  config.max_position_embeddings = size("max_position_embeddings");
  config.rms_norm_eps =
      fields.number("rms_norm_eps", "a number above 0 and below 1", [](double x) { return x > 0 && x < 1; });
  if (fields.find("tie_word_embeddings")) config.tie_word_embeddings = fields.boolean("tie_word_embeddings");
  if (fields.find("initializer_range"))
    config.initializer_range =
        fields.number("initializer_range", "a number from 0 to 1", [](double x) { return x >= 0 && x <= 1; });

  if (config.num_attention_heads % config.num_key_value_heads != 0)
    fields.fail(config_contradiction, "num_key_value_heads",
                "a divisor of num_attention_heads, " + std::to_string(config.num_attention_heads),
                std::to_string(config.num_key_value_heads));
  if (config.head_dim % 2 != 0)
    fields.fail(config_out_of_range, "head_dim", "an even number: RoPE turns pairs", std::to_string(config.head_dim));
  // Every size is below 2^31, so each product of two fits; their sum is taken in double, which cannot overflow.
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  const double per_layer = real(config.hidden_size) * (2 * real(config.num_attention_heads) * real(config.head_dim) +
                                                       2 * real(config.num_key_value_heads) * real(config.head_dim) +
                                                       3 * real(config.intermediate_size));
  if (real(config.num_attention_heads) * real(config.head_dim) > real(largest_size))
    fields.fail(config_out_of_range, "head_dim", "num_attention_heads * head_dim below 2^31",
                std::to_string(config.head_dim));
  if (per_layer * real(config.num_hidden_layers) + 2 * real(config.vocab_size) * real(config.hidden_size) >
      real(detail::most_parameters))
    fields.fail(config_out_of_range, "hidden_size", "sizes that make at most 2^40 parameters",
                std::to_string(config.hidden_size));

  if (fields.text("hidden_act") != "silu")
    fields.fail(config_unsupported, "hidden_act", "\"silu\"", fields.require("hidden_act").described());
  for (const char* key : {"attention_bias", "use_sliding_window"})
    if (fields.find(key) && fields.boolean(key)) fields.fail(config_unsupported, key, "false", "true");
  if (fields.find("attention_dropout") &&
      fields.number("attention_dropout", "0", [](double x) { return x >= 0 && x <= 1; }) != 0)
    fields.fail(config_unsupported, "attention_dropout", "0", fields.require("attention_dropout").dump());
  if (const Json* quantization = fields.find("quantization_config")) {
    const auto says = [&](const char* key, const Json& value) {
      const Json* found = quantization->is_object() ? quantization->find(key) : nullptr;
      return found != nullptr && found->dump() == value.dump();
    };
    config.serialised_nf4 = says("quant_method", "bitsandbytes") && says("load_in_4bit", true) &&
                            says("bnb_4bit_quant_type", "nf4") && says("bnb_4bit_quant_storage", "uint8");
    if (!config.serialised_nf4)
      fields.fail(config_unsupported, "quantization_config", "weights in f32, bf16 or f16, or bitsandbytes' NF4",
                  "weights in another form",
                  "Use the unquantised checkpoint; the quantisation is a policy of the expert");
  }
  if (fields.find("layer_types")) {
    const std::vector<std::string> types = fields.texts("layer_types");
    for (const std::string& type : types)
      if (type != "full_attention")
        fields.fail(config_unsupported, "layer_types", "\"full_attention\" for every layer", expert::quoted(type));
    if (std::cmp_not_equal(types.size(), config.num_hidden_layers))
      fields.fail(config_contradiction, "layer_types",
                  "as many as num_hidden_layers, " + std::to_string(config.num_hidden_layers),
                  std::to_string(types.size()));
  }
  config.rope = detail::parse_ropes(fields, file, config.max_position_embeddings);
  config.dtype = detail::parse_dtype(fields);
  config.eos_token_id = detail::token_ids(fields, "eos_token_id", config.vocab_size);
  config.bos_token_id = detail::token_id(fields, "bos_token_id", config.vocab_size);
  config.pad_token_id = detail::token_id(fields, "pad_token_id", config.vocab_size);
  return config;
}

inline HfConfig read_hf_config(const std::string& path, const Limits& limits = default_limits) {
  return parse_hf_config(read_json(path, limits.config_bytes, limits), path);
}

// Keys that change which tokens are chosen and that we do not compute are refused unless they say "do nothing".
inline GenerationConfig parse_generation_config(const Json& json, const std::string& file) {
  const Fields fields(json, file, "", detail::config_codes);
  struct Neutral {
    std::string_view key;
    double value;  // NaN: none but null
  };
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  static constexpr std::array<Neutral, 21> unsupported{{{"num_beams", 1},
                                                        {"num_beam_groups", 1},
                                                        {"diversity_penalty", 0},
                                                        {"penalty_alpha", none},
                                                        {"typical_p", 1},
                                                        {"top_h", none},
                                                        {"epsilon_cutoff", 0},
                                                        {"eta_cutoff", 0},
                                                        {"encoder_repetition_penalty", 1},
                                                        {"no_repeat_ngram_size", 0},
                                                        {"encoder_no_repeat_ngram_size", 0},
                                                        {"min_length", 0},
                                                        {"min_new_tokens", 0},
                                                        {"guidance_scale", 1},
                                                        {"forced_bos_token_id", none},
                                                        {"forced_eos_token_id", none},
                                                        {"bad_words_ids", none},
                                                        {"suppress_tokens", none},
                                                        {"begin_suppress_tokens", none},
                                                        {"sequence_bias", none},
                                                        {"watermarking_config", none}}};
  for (const Neutral& entry : unsupported)
    if (const Json* value = fields.find(entry.key); value && !(value->is_number() && value->as_double() == entry.value))
      fields.fail(config_unsupported, entry.key,
                  entry.value == entry.value ? Json(entry.value).dump() + " or null" : "null", value->described(),
                  "Remove the key");

  GenerationConfig config;
  const auto number = [&](std::string_view key, const char* expected, auto ok) {
    return fields.find(key) ? std::optional(fields.number(key, expected, ok)) : std::nullopt;
  };
  const auto share = [](double x) { return x >= 0 && x <= 1; };
  config.eos_token_id = detail::token_ids(fields, "eos_token_id", detail::largest_size);
  config.bos_token_id = detail::token_id(fields, "bos_token_id", detail::largest_size);
  config.pad_token_id = detail::token_id(fields, "pad_token_id", detail::largest_size);
  if (fields.find("do_sample")) config.do_sample = fields.boolean("do_sample");
  config.temperature = number("temperature", "a number from 0 on", [](double x) { return x >= 0 && x < 1e6; });
  config.top_p = number("top_p", "a number from 0 to 1", share);
  config.min_p = number("min_p", "a number from 0 to 1", share);
  config.repetition_penalty =
      number("repetition_penalty", "a number above 0", [](double x) { return x > 0 && x < 1e6; });
  if (fields.find("top_k")) config.top_k = fields.integer("top_k", 0, detail::largest_size);
  if (fields.find("max_new_tokens")) config.max_new_tokens = fields.integer("max_new_tokens", 1, detail::largest_size);
  return config;
}

inline GenerationConfig read_generation_config(const std::string& path, const Limits& limits = default_limits) {
  return parse_generation_config(read_json(path, limits.config_bytes, limits), path);
}

}  // namespace v0
}  // namespace expert
