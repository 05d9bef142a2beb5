// `train`: manifest, flags and rows -> an adapter directory, or a trained base.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "cli/common.hpp"
#include "cli/jobs.hpp"
#include "cli/resolve.hpp"

namespace cli {

struct TrainOptions {
  ModelOptions model;
  std::string data, out;
};

inline CLI::App* add_train(CLI::App& app, TrainOptions& options) {
  CLI::App* command = app.add_subcommand("train", "Trains the expert of a manifest on rows of text");
  add_model_options(*command, options.model);
  command->add_option("--data", options.data, "JSON lines, plain or gzip")->required();
  command->add_option("--out", options.out, "directory for the adapter (or the model) and metrics.jsonl")->required();
  return command;
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
  add("learning_rate", number(o.learning_rate));
  add("lr_scheduler", std::string(lr_scheduler_names[static_cast<std::size_t>(o.lr_scheduler)]));
  add("warmup_steps", std::to_string(o.warmup_steps));
  add("warmup_ratio", number(o.warmup_ratio));
  if (job.max_steps > 0) {
    add("max_steps", std::to_string(job.max_steps));
  } else {
    add("epochs", number(job.epochs));
  }
  add("gradient_accumulation_steps", std::to_string(job.gradient_accumulation_steps));
  add("weight_decay", number(o.weight_decay));
  add("max_grad_norm", number(o.max_grad_norm));
  add("seed", std::to_string(job.seed));
  report.say(text);
}

// Values that the manifest may hold and that no stage acts on yet.
inline void announce_not_built(const Manifest& manifest, const Report& report) {
  const TrainingValues training = training_values(manifest);
  const DatasetValues dataset = dataset_values(manifest);
  if (training.save_strategy != "no")
    report.say("not built yet: checkpoints (save_strategy " + training.save_strategy + ")");
  if (dataset.table_aliases) report.say("not built yet: augmentation table_aliases");
  if (dataset.comment_stripping) report.say("not built yet: augmentation comment_stripping");
  if (dataset.case_normalization != "preserve")
    report.say("not built yet: augmentation case_normalization " + dataset.case_normalization);
}

inline ExitCode run_train(const TrainOptions& options, Report& report) {
  const Manifest manifest = load_with_settings(options.model);
  const TrainingValues training = training_values(manifest);
  const DatasetValues dataset = dataset_values(manifest);
  TrainJob job;
  job.model = options.model.model;
  job.data = options.data;
  job.out = options.out;
  job.threads = options.model.threads;
  job.optimizer.learning_rate = training.learning_rate;
  job.optimizer.weight_decay = training.weight_decay;
  job.optimizer.max_grad_norm = training.max_grad_norm;
  job.optimizer.lr_scheduler = lr_scheduler_of(training.lr_scheduler, manifest.file);
  job.optimizer.warmup_steps = training.warmup_steps;
  job.optimizer.warmup_ratio = training.warmup_ratio;
  check_optimizer_options(job.optimizer, manifest.file);
  job.epochs = training.epochs;
  job.max_steps = training.max_steps;
  job.gradient_accumulation_steps = training.gradient_accumulation_steps;
  job.logging_steps = std::max<std::int64_t>(1, training.logging_steps);
  job.dropout = training.dropout;
  job.seed = training.seed;
  job.rows.field_mapping = dataset.field_mapping;
  job.rows.context_prefix = context_prefix(manifest);
  job.filter = {.min_length = dataset.min_length,
                .max_length = dataset.max_length,
                .deduplicate = dataset.deduplicate,
                .schema_injection_prob = dataset.schema_injection_prob,
                .seed = training.seed};
  return with_resolved(options.model, manifest, report, [&]<class E>(std::type_identity<E>) {
    announce_not_built(manifest, report);
    check_pin(options.model, manifest, report);
    say_values(manifest, job, report);
    return train_expert<E>(job, report);
  });
}

}  // namespace cli
