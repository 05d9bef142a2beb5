// The rows of a training's log -> metrics.jsonl, metrics.csv and a TensorBoard event file, each written by a callback
// (training_run.hpp). Not part of expert.hpp.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/io/tfevents.hpp"
#include "expert/io/training_state.hpp"
#include "expert/json/value.hpp"

namespace expert {
inline namespace v0 {

// A file that is watched while it grows: every write reaches the system at once. Throws E203.
class GrowingFile {
 public:
  explicit GrowingFile(const std::filesystem::path& path) : path_(path), file_(std::fopen(path.c_str(), "we")) {
    if (file_ == nullptr) fail();
  }
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;
  ~GrowingFile() {
    if (file_ != nullptr) std::fclose(file_);
  }
  void write(std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size() || std::fflush(file_) != 0) fail();
  }

 private:
  [[noreturn]] void fail() const {
    const int error = errno;
    throw Error(file_unwritable, {.file = path_.string(), .got = std::generic_category().message(error)});
  }

  std::filesystem::path path_;
  std::FILE* file_;
};

// One object per row, as in transformers' log_history. A run that goes on from a checkpoint begins with the rows up to
// there, so rows of steps that are done again do not stand twice.
class JsonlLog {
 public:
  explicit JsonlLog(std::filesystem::path path) : path_(std::move(path)) {}
  void on_train_begin(const TrainingState& state) {
    file_.emplace(path_);
    for (const Json& row : state.log_history.items()) add(row);
  }
  void on_log(const TrainingState&, const Json& row) { add(row); }
  void on_evaluate(const TrainingState&, const Json& row) { add(row); }

 private:
  void add(const Json& row) {
    std::string line = row.dump();
    line += '\n';
    file_->write(line);
  }

  std::filesystem::path path_;
  std::optional<GrowingFile> file_;
};

// RFC 4180, one column per key in the order of first appearance; a row that lacks a key has an empty cell.
inline std::string csv_of(const Json::Array& rows) {
  std::vector<std::string> columns;
  for (const Json& row : rows)
    for (const auto& [key, value] : row.members())
      if (std::find(columns.begin(), columns.end(), key) == columns.end()) columns.push_back(key);
  std::string out;
  const auto cell = [&](const std::string& text, bool first) {
    if (!first) out += ',';
    if (text.find_first_of(",\"\r\n") == text.npos) {
      out += text;
      return;
    }
    out += '"';
    for (const char c : text) out.append(c == '"' ? 2 : 1, c);
    out += '"';
  };
  for (std::size_t i = 0; i < columns.size(); ++i) cell(columns[i], i == 0);
  if (!columns.empty()) out += "\r\n";
  for (const Json& row : rows) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const Json* value = row.find(columns[i]);
      const bool empty = value == nullptr || value->is_null();
      cell(empty ? std::string() : value->is_string() ? value->as_string() : value->dump(), i == 0);
    }
    out += "\r\n";
  }
  return out;
}

// Columns depend on all rows, so the file is written anew at each save and at the end.
class CsvLog {
 public:
  explicit CsvLog(std::filesystem::path path) : path_(std::move(path)) {}
  void on_save(const TrainingState& state, const std::string&) const { write(state); }
  void on_train_end(const TrainingState& state) const { write(state); }

 private:
  void write(const TrainingState& state) const { write_file(path_, csv_of(state.log_history.items())); }

  std::filesystem::path path_;
};

// Tags are those of transformers' TensorBoardCallback: eval_loss is eval/loss, every other key k is train/k.
inline std::string tensorboard_tag(std::string_view key) {
  const bool of_eval = key.starts_with("eval_");
  std::string tag = of_eval ? "eval/" : "train/";
  return tag += of_eval ? key.substr(5) : key;
}

// A new file in `directory` for every run, as TensorBoard expects; what older files say of later steps is dropped.
class TensorBoardLog {
 public:
  explicit TensorBoardLog(std::filesystem::path directory) : directory_(std::move(directory)) {}
  void on_train_begin(const TrainingState& state) {
    const double now = seconds_since_1970();
    char host[256] = "localhost";
    ::gethostname(host, sizeof host - 1);
    std::string name = "events.out.tfevents.";
    name.append(std::to_string(static_cast<long long>(now))).append(".").append(host);
    name.append(".").append(std::to_string(::getpid()));
    file_.emplace(directory_ / name);
    file_->write(tf_version_record(now));
    file_->write(tf_restart_record(now, state.global_step == 0 ? 0 : state.global_step + 1));
  }
  void on_log(const TrainingState& state, const Json& row) { add(state, row); }
  void on_evaluate(const TrainingState& state, const Json& row) { add(state, row); }

 private:
  static double seconds_since_1970() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  void add(const TrainingState& state, const Json& row) {
    std::vector<std::string> tags;
    std::vector<float> values;
    for (const auto& [key, value] : row.members()) {
      if (key == "step" || !value.is_number()) continue;
      tags.push_back(tensorboard_tag(key));
      values.push_back(static_cast<float>(value.as_double()));
    }
    std::vector<TfScalar> scalars;
    for (std::size_t i = 0; i < tags.size(); ++i) scalars.push_back({tags[i], values[i]});
    file_->write(tf_scalars_record(seconds_since_1970(), state.global_step, scalars));
  }

  std::filesystem::path directory_;
  std::optional<GrowingFile> file_;
};

}  // namespace v0
}  // namespace expert
