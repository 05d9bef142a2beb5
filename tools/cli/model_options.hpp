// The flags that name a model and a manifest -> the manifest with its settings, checked against the weights it pins.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cli/command_line.hpp"
#include "cli/common.hpp"
#include "expert/data/row_fields.hpp"
#include "expert/io/sha256.hpp"
#include "expert/manifest.hpp"

namespace cli {

struct ModelOptions {
  std::string model, manifest, cache;
  std::vector<std::string> settings;
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
};

inline void add_settings_option(CLI::App& command, std::vector<std::string>& settings) {
  command.add_option("--set", settings, "path=value: a value of the manifest, training.config.learning_rate=1e-4")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

// A manifest that is named already is the default.
inline void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("--model", options.model, "Hugging Face directory of the base model")->required();
  CLI::Option* manifest = command.add_option("--manifest", options.manifest, "manifest.json of the expert");
  options.manifest.empty() ? manifest->required() : manifest->capture_default_str();
  add_settings_option(command, options.settings);
  command.add_option("--threads", options.threads)->capture_default_str();
  add_cache_option(command, options.cache, "quantised weights and tables of the tokenizer");
}

// Of ModelOptions, or of what else names a manifest and its settings.
template <class Options>
Manifest load_with_settings(const Options& options) {
  Manifest manifest = load_manifest(options.manifest);
  for (const std::string& setting : options.settings) set_value(manifest, setting);
  return manifest;
}

inline constexpr const char* not_pinned = "base weights: not pinned (/base_models/0/sha256 is empty)";
inline bool is_pinned(const Manifest& manifest) {
  const Json* pin = manifest.find("/base_models/0/sha256");
  return pin != nullptr && !pin->as_string().empty();
}
// E403 where the manifest pins other weights than the directory's.
inline std::optional<Error> wrong_weights(const std::string& model, const Manifest& manifest) {
  if (!is_pinned(manifest)) return std::nullopt;
  const std::string& pin = manifest.find("/base_models/0/sha256")->as_string();
  const auto file = std::filesystem::path(model) / "model.safetensors";
  const std::string found = sha256_file(file);
  if (found == pin) return std::nullopt;
  return Error(weights_not_pinned_ones, {.file = file.string(),
                                         .where = "/base_models/0/sha256",
                                         .expected = pin,
                                         .got = found,
                                         .fix = "Use the base that the expert was made for, or change the manifest"});
}
// Throws E403; where nothing is pinned, that is said.
inline void check_pin(const ModelOptions& options, const Manifest& manifest, const Report& report) {
  if (!is_pinned(manifest)) report.say(not_pinned);
  if (const std::optional<Error> wrong = wrong_weights(options.model, manifest)) throw *wrong;
}

// The language of the answers, or an empty text.
inline std::string grammar_type(const Manifest& manifest) {
  const Json* type = manifest.find("/training/decoding/grammar_type");
  return type != nullptr ? type->as_string() : std::string();
}

inline bool is_sql(const Manifest& manifest) { return grammar_type(manifest).starts_with("sql-"); }

// How rows become text: the names of their fields, what stands before the schema in the system message, and the form of
// their SQL. The same for training and for prompts.
inline RowOptions row_options(const Manifest& manifest) {
  const DatasetValues dataset = dataset_values(manifest);
  const std::string language = grammar_type(manifest);
  RowOptions rows;
  rows.field_mapping = dataset.field_mapping;
  if (language == "sql-postgres") rows.context_prefix = "Dialect: postgres\nSchema:\n";
  if (is_sql(manifest)) {
    rows.sql.comment_stripping = dataset.comment_stripping;
    if (dataset.case_normalization == "lower") rows.sql.case_normalization = KeywordCase::lower;
    if (dataset.case_normalization == "upper") rows.sql.case_normalization = KeywordCase::upper;
  }
  return rows;
}

}  // namespace cli
