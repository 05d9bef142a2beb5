// A training -> run.json: the expert, the resolved configuration, the build, the machine, the data, the memory plan and
// the results; and the callback that keeps run.json and report.html current.
#pragma once
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "cli/build_info.hpp"
#include "cli/common.hpp"
#include "cli/jobs.hpp"
#include "cli/report_files.hpp"
#include "expert/cpu/isa.hpp"
#include "expert/io/training_state.hpp"
#include "expert/manifest.hpp"
#include "expert/plan/memory.hpp"
#include "expert/tokens.hpp"

namespace cli {

inline std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  char text[32];
  ::gmtime_r(&now, &parts);
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts)};
}

// Words -> a line that a POSIX shell reads as them.
inline std::string shell_line(const std::vector<std::string>& words) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty()) line += ' ';
    if (!word.empty() && word.find_first_not_of(plain) == word.npos) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

inline std::string cpu_model() {
  std::string model;
  if (std::FILE* file = std::fopen("/proc/cpuinfo", "re")) {
    char line[512];
    while (model.empty() && std::fgets(line, sizeof line, file) != nullptr) {
      const std::string_view text(line);
      const std::size_t colon = text.find(": ");
      if (text.starts_with("model name") && colon != text.npos)
        model = text.substr(colon + 2, text.find('\n') - colon - 2);
    }
    std::fclose(file);
  }
  return utf8_lossy(model);
}

inline std::int64_t peak_resident_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

namespace detail {

// Every value that the manifest states and no comment, in its order: {pointer, value, origin}.
inline void add_stated(const Manifest& manifest, const Json& value, const std::string& pointer, Json& rows) {
  const bool has_objects = value.is_array() && !value.items().empty() && value.items().front().is_object();
  if (value.is_object()) {
    for (const auto& [key, member] : value.members())
      if (!key.starts_with('_')) add_stated(manifest, member, expert::detail::child_pointer(pointer, key), rows);
  } else if (has_objects) {
    for (std::size_t i = 0; i < value.items().size(); ++i)
      add_stated(manifest, value.items()[i], pointer + "/" + std::to_string(i), rows);
  } else {
    rows.push(Json::object().set("pointer", pointer).set("value", value).set("origin", manifest.origin(pointer)));
  }
}

// What the stages read where the manifest states nothing.
inline void add_defaults(const Manifest& manifest, Json& rows) {
  const TrainingValues t;
  const DecodingValues d;
  const DatasetValues s;
  const std::pair<const char*, Json> defaults[] = {
      {"/training/config/epochs", t.epochs},
      {"/training/config/max_steps", t.max_steps},
      {"/training/config/learning_rate", t.learning_rate},
      {"/training/config/lr_scheduler", t.lr_scheduler},
      {"/training/config/warmup_steps", t.warmup_steps},
      {"/training/config/warmup_ratio", t.warmup_ratio},
      {"/training/config/weight_decay", t.weight_decay},
      {"/training/config/max_grad_norm", t.max_grad_norm},
      {"/training/config/gradient_accumulation_steps", t.gradient_accumulation_steps},
      {"/training/config/seed", t.seed},
      {"/training/config/logging_steps", t.logging_steps},
      {"/training/config/evaluation_strategy", t.evaluation_strategy},
      {"/training/config/eval_steps", t.eval_steps},
      {"/training/config/eval_on_start", t.eval_on_start},
      {"/training/config/save_strategy", t.save_strategy},
      {"/training/config/save_steps", t.save_steps},
      {"/training/config/save_total_limit", t.save_total_limit},
      {"/training/config/load_best_model_at_end", t.load_best_model_at_end},
      {"/training/config/early_stopping_patience", t.early_stopping_patience},
      {"/base_models/0/adapters/0/dropout", t.dropout},
      {"/training/dataset/augmentation/schema_injection_prob", s.schema_injection_prob},
      {"/training/dataset/augmentation/table_aliases", s.table_aliases},
      {"/training/dataset/validation/min_length", s.min_length},
      {"/training/dataset/validation/max_length", s.max_length},
      {"/training/dataset/validation/deduplicate", s.deduplicate},
      {"/training/dataset/validation/validate_json", s.validate_json},
      {"/training/dataset/validation/validate_schema", s.validate_schema},
      {"/training/decoding/temperature", d.temperature},
      {"/training/decoding/top_p", d.top_p},
      {"/training/decoding/top_k", d.top_k},
      {"/training/decoding/min_p", d.min_p}};
  for (const auto& [pointer, value] : defaults)
    if (manifest.find(pointer) == nullptr)
      rows.push(Json::object().set("pointer", pointer).set("value", value).set("origin", "default"));
}

}  // namespace detail

// Every resolved value, where it comes from, and the policy that was compiled with it.
template <class E>
Json configuration_record(const Manifest& manifest) {
  Json rows = Json::array();
  detail::add_stated(manifest, manifest.json, "", rows);
  detail::add_defaults(manifest, rows);
  const std::vector<DescribedPolicy> policies = describe<E>();
  Json out = Json::array();
  for (Json row : rows.items()) {
    const std::string pointer = row.find("pointer")->as_string();
    for (const DescribedPolicy& policy : policies)
      for (const Field& field : policy.fields)
        if (field.pointer == pointer) row.set("policy", policy.name);
    out.push(std::move(row));
  }
  return out;
}

// The commands that use what was trained.
inline Json usage_record(const std::string& model, const std::string& manifest, const std::string& out, bool adapter) {
  Json list = Json::array();
  const auto add = [&](const char* what, const std::string& command) {
    list.push(Json::object().set("what", what).set("command", utf8_lossy(command)));
  };
  const std::string base = adapter ? model : out;
  std::vector<std::string> generate{"expert-cli", "generate", "--model", base};
  if (adapter) generate.insert(generate.end(), {"--adapter", out});
  generate.insert(generate.end(),
                  {"--manifest", manifest, "--input", "rows.jsonl", "--output", "answers.jsonl", "--greedy"});
  add("Answer rows", shell_line(generate));
  add("Judge the answers", shell_line({"expert-cli", "eval", "--manifest", manifest, "--input", "answers.jsonl"}));
  std::string python = "from transformers import AutoModelForCausalLM\nmodel = AutoModelForCausalLM.from_pretrained(\"";
  python.append(base).append("\")");
  if (adapter)
    python.append("\nfrom peft import PeftModel\nmodel = PeftModel.from_pretrained(model, \"")
        .append(out)
        .append("\")");
  add("Load it in Python", python);
  add("Watch the curves in TensorBoard", shell_line({"tensorboard", "--logdir", out}));
  add("Write this page again, with an evaluation",
      shell_line({"expert-cli", "report", out, "--eval", "expert=eval.json"}));
  return list;
}

inline std::string library_version() { return joined({version_major, ".", version_minor, ".", version_patch}); }

// A plan's buffers that take memory.
template <std::size_t N>
Json buffers_json(const std::array<Region, N>& regions) {
  Json list = Json::array();
  for (const Region& region : regions)
    if (region.bytes > 0) list.push(Json::object().set("name", region.name).set("bytes", region.bytes));
  return list;
}

// What is known before any file but the manifest is read.
template <class E>
Json run_record(const Manifest& manifest, const TrainJob& job) {
  const auto text = [&](const char* pointer) {
    const Json* value = manifest.find(pointer);
    return value == nullptr ? Json() : *value;
  };
  Json memory = Json::object();
  using Plan = TrainingPlan<E>;
  memory.set("tokens_at_once", Plan::max_tokens)
      .set("planned_bytes", Plan::bytes(Plan::max_tokens))
      .set("buffers", buffers_json(Plan::regions(Plan::max_tokens)));
  const BuildInfo& build = build_info();
  return Json::object()
      .set("status", "running")
      .set("started", utc_now())
      .set("command_line", utf8_lossy(shell_line(job.command)))
      .set("expert", Json::object()
                         .set("name", text("/name"))
                         .set("version", text("/version"))
                         .set("description", text("/description"))
                         .set("type", type_name<E>())
                         .set("manifest", utf8_lossy(manifest.file)))
      .set("build", Json::object()
                        .set("version", library_version())
                        .set("git", build.git)
                        .set("compiler", build.compiler)
                        .set("flags", build.flags)
                        .set("build_type", build.build_type))
      .set("training", Json::object().set("trainable_parameters", trainable_parameters<E>))
      .set("memory", std::move(memory))
      .set("usage", usage_record(job.model, manifest.file, job.out, !E::tuning::trains_base))
      .set("configuration", configuration_record<E>(manifest));
}

inline Json machine_record(Isa isa, int threads) {
  return Json::object()
      .set("cpu", cpu_model())
      .set("cores", static_cast<std::int64_t>(std::thread::hardware_concurrency()))
      .set("threads", threads)
      .set("isa", name_of(isa))
      .set("memory_bytes", static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE));
}

// The model directory with its config.json; `sha256` is that of its tensors (checkpoint.hpp: base_item).
inline Json base_record(const std::string& directory, const Json& sha256) {
  Json record = Json::object().set("directory", utf8_lossy(directory)).set("tensors_sha256", sha256);
  const auto config = std::filesystem::path(directory) / "config.json";
  return record.set("config", read_json(config.string(), default_limits.config_bytes));
}

inline Json data_record(const std::string& file, const Json& sha256, const TrainingData& rows) {
  const Dataset& data = rows.data();
  Json shapes = Json::object();
  for (std::size_t i = 0; i < data.shapes.size(); ++i)
    if (data.shapes[i] > 0) shapes.set(row_shape_names[i], data.shapes[i]);
  return Json::object()
      .set("path", utf8_lossy(file))
      .set("sha256", sha256)
      .set("row_path", name_of(rows.path()))
      .set("reason", rows.path_reason())
      .set("fill", rows.fill())
      .set("rows", data.documents.size())
      .set("tokens", data.tokens())
      .set("loss_tokens", data.loss_tokens())
      .set("packed_rows", std::ssize(rows.packed().rows))
      .set("over_long", std::ssize(rows.packed().over_long))
      .set("duplicates", data.duplicates)
      .set("too_short", data.too_short)
      .set("too_long", data.too_long)
      .set("not_json", data.not_json.rows)
      .set("not_by_schema", data.not_by_schema.rows)
      .set("with_aliases", data.with_aliases)
      .set("without_schema", data.without_schema)
      .set("blank_lines", data.blank_lines)
      .set("shapes", std::move(shapes));
}

// A callback: run.json and report.html in `out`, from the first step on. The log itself is metrics.jsonl, so JsonlLog
// comes before it.
class RunFiles {
 public:
  RunFiles(std::string out, Json run) : out_(std::move(out)), run_(std::move(run)) {}

  void on_train_begin(const TrainingState& state) {
    run_.set("output", utf8_lossy(out_)).set("status", "running");
    Json training = *run_.find("training");
    training.set("max_steps", state.max_steps)
        .set("steps_per_epoch", state.steps_per_epoch)
        .set("train_batch_size", state.train_batch_size)
        .set("resumed_from_step", state.global_step);
    run_.set("training", std::move(training));
    write(state);
  }
  void on_save(const TrainingState& state, const std::string&) { write(state); }
  void on_train_end(const TrainingState& state) {
    std::string status(name_of(state.stop_reason));
    std::replace(status.begin(), status.end(), '_', ' ');
    run_.set("status", status).set("ended", utc_now());
    write(state);
  }
  // After training: answers of base and expert (samples.hpp).
  void add_samples(const Json& samples) {
    write_file(out_ + "/samples.json", samples.dump(1) + "\n");
    write_report(out_);
  }

 private:
  void write(const TrainingState& state) {
    Json memory = *run_.find("memory");
    run_.set("memory", memory.set("rss_peak_bytes", peak_resident_bytes()));
    const double seconds = std::max(state.seconds, 1e-9);
    Json results = Json::object();
    results.set("global_step", state.global_step)
        .set("epoch", state.epoch)
        .set("num_input_tokens_seen", state.num_input_tokens_seen)
        .set("train_runtime", state.seconds)
        .set("tokens_per_second", static_cast<double>(state.num_input_tokens_seen) / seconds)
        .set("best_metric", state.best_metric ? Json(*state.best_metric) : Json())
        .set("best_model_checkpoint", utf8_lossy(state.best_model_checkpoint));
    run_.set("results", std::move(results));
    write_file(out_ + "/run.json", run_.dump(1) + "\n");
    write_report(out_);
  }

  std::string out_;
  Json run_;
};

}  // namespace cli
