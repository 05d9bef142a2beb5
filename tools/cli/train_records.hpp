// A finished run -> OUT/manifest.json: the manifest with the settings of the run, and what training records in it.
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/run_record.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/io/run_directory.hpp"
#include "expert/io/sha256.hpp"
#include "expert/io/training_state.hpp"
#include "expert/manifest.hpp"

namespace cli {

struct TrainedFiles {
  std::string out, adapter;  // adapter: its file in `out`; empty where the base was trained
  Json base, data_sha256;    // hashes of the base's tensors and of the training rows
  std::int64_t rows = 0;
};

namespace detail {

inline void set_at(Json& manifest, std::string_view pointer, Json value) {
  std::vector<std::string> path;
  for (std::size_t at = 1; at <= pointer.size();) {
    const std::size_t end = std::min(pointer.find('/', at), pointer.size());
    path.emplace_back(pointer.substr(at, end - at));
    at = end + 1;
  }
  manifest = expert::detail::with_value(manifest, std::span<const std::string>(path), std::move(value));
}

// Files that a manifest names relative to itself, named relative to `out`.
inline void move_paths(Json& manifest, const std::string& file, const std::string& out) {
  namespace fs = std::filesystem;
  const fs::path from = fs::absolute(file).parent_path(), to = fs::absolute(out).lexically_normal();
  for (const char* pointer :
       {"/training/dataset/path", "/training/dataset/validation_path", "/training/dataset/test_path",
        "/training/decoding/grammar_file", "/evaluation/test_cases"}) {
    const Json* path = manifest.at_pointer(pointer);
    if (path == nullptr || path->as_string().empty() || fs::path(path->as_string()).is_absolute()) continue;
    const fs::path moved = (from / path->as_string()).lexically_normal().lexically_relative(to / "");
    set_at(manifest, pointer, moved.string());
  }
}

}  // namespace detail

// The last evaluation, or the best where that is the result; null where there was none.
inline Json quality_score(const TrainingState& state) {
  Json loss;
  for (const Json& row : state.log_history.items())
    if (const Json* found = row.find("eval_loss")) loss = *found;
  if (state.best_metric) loss = *state.best_metric;
  return loss.is_null() ? loss : Json::object().set("metric", "eval_loss").set("value", loss);
}

inline Json manifest_with_records(const Manifest& manifest, const TrainedFiles& files, const TrainingState& state,
                                  const std::vector<std::int64_t>& checkpoints) {
  Json json = manifest.json;
  detail::move_paths(json, manifest.file, files.out);
  detail::set_at(json, "/training/trained_on",
                 Json::object()
                     .set("date", utc_now())
                     .set("data_sha256", files.data_sha256)
                     .set("rows", files.rows)
                     .set("steps", state.global_step)
                     .set("tokens", state.num_input_tokens_seen)
                     .set("library", library_version()));
  detail::set_at(json, "/training/base_model_version", files.base);
  if (const Json score = quality_score(state); !score.is_null()) detail::set_at(json, "/training/quality_score", score);
  const auto name = [](std::int64_t step) { return Json("checkpoint-" + std::to_string(step)); };
  if (!checkpoints.empty()) {
    Json others = Json::array();
    for (std::size_t i = 0; i + 1 < checkpoints.size(); ++i) others.push(name(checkpoints[i]));
    detail::set_at(json, "/training/checkpoint", name(checkpoints.back()));
    detail::set_at(json, "/training/alternative_checkpoints", std::move(others));
  }
  if (files.adapter.empty()) return json;
  const std::string file = (std::filesystem::path(files.out) / files.adapter).string(),
                    at = "/base_models/0/adapters/0";
  detail::set_at(json, at + "/path", files.adapter);
  detail::set_at(json, at + "/size_bytes", static_cast<std::int64_t>(std::filesystem::file_size(file)));
  detail::set_at(json, at + "/sha256", sha256_file(file));
  return json;
}

}  // namespace cli
