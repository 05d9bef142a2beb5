// What training and eval wrote into a manifest, compared with the files beside it: records written by hand are found.
#pragma once
#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/common.hpp"
#include "cli/verdict.hpp"
#include "expert/checkpoint.hpp"
#include "expert/io/run_directory.hpp"
#include "expert/manifest.hpp"

namespace cli {

inline constexpr ErrorCode hand_written_record{418, "a record of the manifest is not what its tool writes"};

class RecordChecks {
 public:
  explicit RecordChecks(const Manifest& manifest)
      : manifest_(manifest), directory_(std::filesystem::path(manifest.file).parent_path()) {
    const auto run = directory_ / "run.json";
    if (std::filesystem::exists(run)) run_ = read_json(run.string(), training_state_bytes);
  }

  std::vector<Problem> find(const std::string& model) {
    check_quality();
    check_trained_on();
    check_checkpoints();
    check_base(model);
    return std::move(problems_);
  }

 private:
  static constexpr const char* of_eval = "Let expert-cli eval --write write it, or remove it";
  static constexpr const char* of_train = "Take the manifest that expert-cli train wrote, or remove it";

  void problem(std::string pointer, const Json* value, std::string expected, const char* fix) {
    problems_.push_back({hand_written_record,
                         std::move(pointer),
                         value == nullptr ? "(absent)" : shown(*value),
                         std::move(expected),
                         fix,
                         {}});
  }
  // The record, or null where it is absent or no object, which is a problem.
  const Json* object_at(const char* pointer, const char* fix) {
    const Json* record = manifest_.find(pointer);
    if (record == nullptr || record->is_object()) return record;
    problem(pointer, record, "an object", fix);
    return nullptr;
  }
  template <class Is>
  void require(const Json& record, const std::string& at, const char* key, const char* expected, const char* fix,
               Is is) {
    const Json* value = record.find(key);
    if (value == nullptr || !is(*value)) problem(at + "/" + key, value, expected, fix);
  }
  static bool is_count(const Json& v) { return v.is_int64() && v.as_int() > 0; }
  static bool is_date(const Json& v) { return v.is_string() && v.as_string().size() >= 10; }
  static bool is_sha256(const Json& v) { return v.is_string() && expert::detail::is_hash(v.as_string()); }
  static bool is_interval(const Json& value) {
    const Json *share = value.find("share"), *low = value.find("low"), *high = value.find("high");
    for (const Json* number : {share, low, high})
      if (number == nullptr || !number->is_number()) return false;
    return 0 <= low->as_double() && low->as_double() <= share->as_double() && share->as_double() <= high->as_double() &&
           high->as_double() <= 1;
  }

  // Figures say of how many rows, when and on which file they were measured.
  void check_quality() {
    const std::string at = "/quality_metrics";
    const Json* quality = object_at(at.c_str(), of_eval);
    if (quality == nullptr) return;
    require(*quality, at, "n", "how many rows were judged", of_eval, is_count);
    require(*quality, at, "date", "when they were judged", of_eval, is_date);
    require(*quality, at, "data_sha256", "the SHA-256 of the judged rows", of_eval, is_sha256);
    for (const auto& [key, value] : quality->members()) {
      const bool is_other = key == "n" || key == "date" || key == "data_sha256" || key == "commit";
      if (is_other || key.starts_with('_')) continue;
      const bool is_metric = std::find(metric_names.begin(), metric_names.end(), key) != metric_names.end();
      if (!is_metric || !is_interval(value))
        problem(at + "/" + key, &value, "a metric with share, low and high", of_eval);
    }
  }

  // Compared with run.json, where that lies beside the manifest.
  void check_trained_on() {
    const std::string at = "/training/trained_on";
    const Json* record = object_at(at.c_str(), of_train);
    if (record != nullptr) {
      require(*record, at, "date", "when the training ended", of_train, is_date);
      require(*record, at, "data_sha256", "the SHA-256 of the training rows", of_train, is_sha256);
      require(*record, at, "steps", "how many steps were trained", of_train, is_count);
      compare(at + "/data_sha256", "/data/train/sha256");
      compare(at + "/steps", "/results/global_step");
    }
    const std::string score = "/training/quality_score";
    const Json* quality = object_at(score.c_str(), of_train);
    if (quality == nullptr) return;
    require(*quality, score, "metric", "what was measured", of_train, [](const Json& v) { return v.is_string(); });
    require(*quality, score, "value", "a number", of_train, [](const Json& v) { return v.is_number(); });
    compare(score + "/value", "/results/best_metric");
  }
  void compare(const std::string& pointer, const char* in_run) {
    const Json *value = manifest_.find(pointer), *found = run_.at_pointer(in_run);
    if (value == nullptr || found == nullptr || found->is_null() || value->dump() == found->dump()) return;
    problem(pointer, value, joined({found->dump(), ", which run.json says"}), of_train);
  }

  void check_checkpoints() {
    const char* at = "/training/checkpoint";
    if (const Json* newest = manifest_.find(at)) check_checkpoint(at, *newest);
    const std::string others = "/training/alternative_checkpoints";
    const Json* list = manifest_.find(others);
    if (list == nullptr) return;
    if (!list->is_array()) return problem(others, list, "a list of checkpoint-N", of_train);
    for (std::size_t i = 0; i < list->items().size(); ++i)
      check_checkpoint(others + "/" + std::to_string(i), list->items()[i]);
  }
  // Beside the manifest, and whole.
  void check_checkpoint(const std::string& pointer, const Json& name) {
    if (!name.is_string() || expert::detail::step_of(name.as_string()) < 0)
      return problem(pointer, &name, "checkpoint-N", of_train);
    try {
      verify_checkpoint((directory_ / name.as_string()).string());
    } catch (const Error& e) {
      problem(pointer, &name, joined({"a checkpoint that is whole: ", e.what()}), of_train);
    }
  }

  void check_base(const std::string& model) {
    const char* at = "/training/base_model_version";
    const Json* version = manifest_.find(at);
    if (version == nullptr) return;
    if (!is_sha256(*version)) return problem(at, version, "the SHA-256 of the base's tensors", of_train);
    if (model.empty()) return;
    const Json found = base_item(model).value;
    if (version->dump() != found.dump()) problem(at, version, joined({found.dump(), ", those of ", model}), of_train);
  }

  const Manifest& manifest_;
  std::filesystem::path directory_;
  Json run_;
  std::vector<Problem> problems_;
};

// `model`: the directory of the base, or empty.
inline std::vector<Problem> record_problems(const Manifest& manifest, const std::string& model) {
  return RecordChecks(manifest).find(model);
}

}  // namespace cli
