// Flags of `train` + manifest -> TrainJob, with a sentence on where each value comes from. Each flag of a value is a
// name for a path of the manifest, so that --learning-rate 1e-4 is --set training.config.learning_rate=1e-4.
#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cli/jobs.hpp"
#include "cli/model_options.hpp"
#include "schema_judge.hpp"

namespace cli {

struct TrainOptions {
  ModelOptions model;
  std::string data, valid, out;
  bool resume = false;
  std::int64_t samples = 5;
  std::vector<std::string> command;  // the words of the command line
};

struct TrainFlag {
  const char *flag, *key, *help;  // key: of /training/config
};
inline constexpr std::array train_flags{
    TrainFlag{"--max-steps", "max_steps", "optimizer steps; takes precedence over epochs"},
    TrainFlag{"--epochs", "epochs", "passes over the rows"},
    TrainFlag{"--learning-rate", "learning_rate", "highest learning rate"},
    TrainFlag{"--lr-scheduler", "lr_scheduler", "constant, constant_with_warmup, linear, cosine"},
    TrainFlag{"--warmup-steps", "warmup_steps", "steps in which the rate rises"},
    TrainFlag{"--warmup-ratio", "warmup_ratio", "the same as a share of all steps"},
    TrainFlag{"--weight-decay", "weight_decay", "of AdamW"},
    TrainFlag{"--max-grad-norm", "max_grad_norm", "gradients are clipped to this norm; 0: never"},
    TrainFlag{"--gradient-accumulation-steps", "gradient_accumulation_steps", "micro-batches of a step"},
    TrainFlag{"--seed", "seed", "of order, packing, initialisation, dropout"},
    TrainFlag{"--logging-steps", "logging_steps", "steps of a row of metrics.jsonl"},
    TrainFlag{"--evaluation-strategy", "evaluation_strategy", "no, steps, epoch"},
    TrainFlag{"--eval-steps", "eval_steps", "steps between two evaluations"},
    TrainFlag{"--save-strategy", "save_strategy", "no, steps, epoch"},
    TrainFlag{"--save-steps", "save_steps", "steps between two checkpoints"},
    TrainFlag{"--save-total-limit", "save_total_limit", "checkpoints that are kept, never fewer than two; 0: all"},
    TrainFlag{"--early-stopping-patience", "early_stopping_patience", "evaluations without a better loss; 0: never"},
    TrainFlag{"--early-stopping-threshold", "early_stopping_threshold", "by how much a better loss is better"},
};

inline void add_train_options(CLI::App& command, TrainOptions& options) {
  add_model_options(command, options.model);
  command.add_option("--data", options.data, "training rows: JSON lines, plain or gzip; default: the manifest's path");
  command.add_option("--valid", options.valid, "rows for the evaluation loss, in the same form");
  command
      .add_option("--out", options.out, "directory for the adapter (or the model), its checkpoints and metrics.jsonl")
      ->required();
  command.add_flag("--resume", options.resume, "go on from the newest checkpoint in --out that is whole");
  command.add_option("--samples", options.samples, "rows that base and expert answer for report.html; 0: none")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  std::vector<std::string>& settings = options.model.settings;
  const auto set = [&settings](const char* key, const std::string& value) {
    settings.push_back("training.config." + std::string(key) + "=" + value);
  };
  for (const TrainFlag& f : train_flags)
    command.add_option_function<std::string>(f.flag, [set, key = f.key](const std::string& v) { set(key, v); }, f.help);
  command.add_flag_callback(
      "--eval-on-start", [set] { set("eval_on_start", "true"); }, "evaluate before the first step too");
  command.add_flag_callback(
      "--load-best-model-at-end", [set] { set("load_best_model_at_end", "true"); },
      "the model with the lowest evaluation loss is the result");
}

inline IntervalStrategy interval_of(std::string_view name) {  // one of the choices, the manifest was checked
  return static_cast<IntervalStrategy>(std::find(std::begin(interval_names), std::end(interval_names), name) -
                                       std::begin(interval_names));
}

// Evaluation rows: --valid; else the manifest's validation_path (relative to the manifest) where it asks for
// evaluations and the file exists. With rows but no strategy stated: every eval_steps where those are stated, else
// every epoch.
inline void resolve_evaluation(const TrainOptions& options, const Manifest& manifest, TrainJob& job,
                               const Report& report) {
  const auto stated = [&](const char* key) { return manifest.origin(key) != "default"; };
  constexpr const char *strategy = "/training/config/evaluation_strategy", *steps = "/training/config/eval_steps";
  constexpr const char* path = "/training/dataset/validation_path";
  IntervalStrategy& interval = job.run.eval_strategy;
  std::string origin(manifest.origin(strategy));
  if (!stated(strategy) && stated(steps)) {
    interval = IntervalStrategy::steps;
    origin = manifest.origin(steps);
  } else if (!stated(strategy) && !options.valid.empty()) {
    interval = IntervalStrategy::epoch;
  }
  if (interval == IntervalStrategy::no) {
    if (!options.valid.empty())
      report.say("evaluation: none, although --valid names rows (evaluation_strategy no, " + origin + ")");
    return;
  }
  job.valid = options.valid;
  std::string from = "flag";
  if (job.valid.empty() && manifest.find(path) != nullptr && !dataset_values(manifest).validation_path.empty()) {
    const auto file = std::filesystem::path(manifest.file).parent_path() / dataset_values(manifest).validation_path;
    from = manifest.origin(path);
    if (std::filesystem::exists(file)) {
      job.valid = file.string();
    } else {
      report.say("evaluation: " + file.string() + " (validation_path, " + from + ") does not exist");
    }
  }
  if (job.valid.empty()) {
    report.say("evaluation: none, no rows are given (--valid FILE)");
    interval = IntervalStrategy::no;
    return;
  }
  std::string line = "evaluation: " + job.valid + " (" + from + "), every ";
  line += interval == IntervalStrategy::epoch ? "epoch" : std::to_string(job.run.eval_steps) + " steps";
  report.say(line + " (" + origin + ") and at the end");
}

// --data; else the manifest's path, relative to the manifest.
inline std::string training_rows(const TrainOptions& options, const Manifest& manifest, const Report& report) {
  if (!options.data.empty()) return options.data;
  const std::string path = dataset_values(manifest).path;
  if (path.empty())
    throw Error(bad_command_line, {.file = manifest.file,
                                   .where = "/training/dataset/path",
                                   .expected = "rows to train on",
                                   .got = "neither --data nor this field",
                                   .fix = "Give --data FILE"});
  const std::string file = (std::filesystem::path(manifest.file).parent_path() / path).string();
  report.say("data: " + file + " (path, " + std::string(manifest.origin("/training/dataset/path")) + ")");
  return file;
}

// The manifest's test_path, relative to the manifest, where the file is there.
inline std::string test_rows(const Manifest& manifest, const Report& report) {
  const std::string path = dataset_values(manifest).test_path;
  if (path.empty()) return {};
  const std::string file = (std::filesystem::path(manifest.file).parent_path() / path).string();
  if (std::filesystem::exists(file)) return file;
  report.say("test rows: " + file + " (test_path) does not exist: not looked for among the training rows");
  return {};
}

inline TrainJob make_train_job(const TrainOptions& options, const Manifest& manifest, const Report& report) {
  const TrainingValues training = training_values(manifest);
  const DatasetValues dataset = dataset_values(manifest);
  TrainJob job;
  job.model = options.model.model;
  job.cache = cache_directory(options.model.cache);
  job.data = training_rows(options, manifest, report);
  job.test = test_rows(manifest, report);
  job.out = options.out;
  job.resume = options.resume;
  job.command = options.command;
  job.samples = options.samples;
  job.manifest = manifest;
  job.stop_sequences = decoding_values(manifest).stop_sequences;
  job.threads = options.model.threads;
  job.optimizer.learning_rate = training.learning_rate;
  job.optimizer.weight_decay = training.weight_decay;
  job.optimizer.max_grad_norm = training.max_grad_norm;
  job.optimizer.lr_scheduler = lr_scheduler_of(training.lr_scheduler, manifest.file);
  job.optimizer.warmup_steps = training.warmup_steps;
  job.optimizer.warmup_ratio = training.warmup_ratio;
  check_optimizer_options(job.optimizer, manifest.file);
  job.run.num_train_epochs = training.epochs;
  job.run.max_steps = training.max_steps;
  job.run.logging_steps = training.logging_steps;
  job.run.save_strategy = interval_of(training.save_strategy);
  job.run.save_steps = training.save_steps;
  job.run.save_total_limit = training.save_total_limit;
  job.run.eval_strategy = interval_of(training.evaluation_strategy);
  job.run.eval_steps = training.eval_steps;
  job.run.eval_on_start = training.eval_on_start;
  job.run.load_best_model_at_end = training.load_best_model_at_end;
  job.run.metric_for_best_model = training.metric_for_best_model;
  job.run.greater_is_better = training.greater_is_better;
  job.run.early_stopping_patience = training.early_stopping_patience;
  job.run.early_stopping_threshold = training.early_stopping_threshold;
  job.gradient_accumulation_steps = training.gradient_accumulation_steps;
  job.dropout = training.dropout;
  job.seed = training.seed;
  job.group_by_length = training.group_by_length;
  job.streaming = dataset.streaming;
  job.rows = row_options(manifest);
  job.filter = {.min_length = dataset.min_length,
                .max_length = dataset.max_length,
                .deduplicate = dataset.deduplicate,
                .validate_json = dataset.validate_json,
                .schema_injection_prob = dataset.schema_injection_prob,
                .table_aliases = dataset.table_aliases && is_sql(manifest),
                .seed = training.seed};
  if (dataset.validate_json && grammar_type(manifest) != "json")
    throw Error(rule_without_meaning, {.file = manifest.file,
                                       .where = "/training/dataset/validation/validate_json",
                                       .expected = "false: the answers are no JSON",
                                       .got = "true for " + expert::quoted(grammar_type(manifest)),
                                       .fix = "Remove the field"});
  resolve_evaluation(options, manifest, job, report);
  check_run_options(job.run, !job.valid.empty(), true);
  return job;
}

// Every value that the run depends on, with where it comes from.
inline void say_values(const Manifest& manifest, const TrainJob& job, const Report& report) {
  std::string text = "values:";
  const auto add = [&](const char* key, const std::string& value) {
    const std::string pointer = std::string("/training/config/") + key;
    text += std::string(text.ends_with(':') ? " " : ", ") + key + " " + value + " (" +
            std::string(manifest.origin(pointer)) + ")";
  };
  const auto number = [](double x) { return Json(x).dump(); };
  const OptimizerOptions& o = job.optimizer;
  const TrainingRunOptions& run = job.run;
  add("learning_rate", number(o.learning_rate));
  add("lr_scheduler", std::string(lr_scheduler_names[static_cast<std::size_t>(o.lr_scheduler)]));
  add("warmup_steps", std::to_string(o.warmup_steps));
  add("warmup_ratio", number(o.warmup_ratio));
  if (run.max_steps > 0) {
    add("max_steps", std::to_string(run.max_steps));
  } else {
    add("epochs", number(run.num_train_epochs));
  }
  add("gradient_accumulation_steps", std::to_string(job.gradient_accumulation_steps));
  add("weight_decay", number(o.weight_decay));
  add("max_grad_norm", number(o.max_grad_norm));
  add("seed", std::to_string(job.seed));
  add("logging_steps", std::to_string(run.logging_steps));
  add("save_strategy", std::string(interval_names[static_cast<std::size_t>(run.save_strategy)]));
  if (run.save_strategy == IntervalStrategy::steps) add("save_steps", std::to_string(run.save_steps));
  if (run.save_strategy != IntervalStrategy::no) add("save_total_limit", std::to_string(run.save_total_limit));
  if (run.eval_strategy != IntervalStrategy::no) {
    add("load_best_model_at_end", run.load_best_model_at_end ? "true" : "false");
    add("early_stopping_patience", std::to_string(run.early_stopping_patience));
    if (run.early_stopping_patience > 0) add("early_stopping_threshold", number(run.early_stopping_threshold));
  }
  report.say(text);
}

// What the manifest asks for and its language has nothing for, and what is not built for it.
inline void announce_inert(const Manifest& manifest, const Report& report) {
  const DatasetValues dataset = dataset_values(manifest);
  const std::string language = grammar_type(manifest);
  if (is_sql(manifest)) return;
  if (dataset.table_aliases) report.say("table_aliases: no tables in " + language);
  if (dataset.comment_stripping) report.say("not built yet: augmentation comment_stripping for " + language);
  if (dataset.case_normalization != "preserve")
    report.say("not built yet: augmentation case_normalization " + dataset.case_normalization + " for " + language);
}

}  // namespace cli
