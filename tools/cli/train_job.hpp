// One run of training for the expert E: rows -> adapter (or base), metrics.jsonl. Included by tools/experts/*.cpp only.
#pragma once
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/jobs.hpp"
#include "cli/progress.hpp"
#include "cli/signals.hpp"
#include "expert/adapter_file.hpp"
#include "expert/io/gzip.hpp"
#include "expert/io/hf_config.hpp"
#include "expert/text/tokenizer.hpp"
#include "expert/tokens.hpp"
#include "expert/trainer.hpp"
#include "expert/weights.hpp"

namespace cli {

// The ids that end an answer: generation_config.json's, else config.json's. The first is what training appends.
inline std::vector<std::int32_t> end_tokens(const std::filesystem::path& model, const HfConfig& config) {
  std::vector<std::int64_t> ids = config.eos_token_id;
  const auto file = model / "generation_config.json";
  if (std::filesystem::exists(file)) {
    const GenerationConfig generation = read_generation_config(file);
    if (!generation.eos_token_id.empty()) ids = generation.eos_token_id;
  }
  return {ids.begin(), ids.end()};
}

inline std::string describe(const Dataset& data) {
  std::string text = std::to_string(data.documents.size());
  text += " rows";
  const char* before = " (";
  for (std::size_t shape = 0; shape < data.shapes.size(); ++shape) {
    if (data.shapes[shape] == 0) continue;
    text.append(before).append(row_shape_names[shape]).append(" ").append(std::to_string(data.shapes[shape]));
    before = ", ";
  }
  text.append("), ").append(std::to_string(data.tokens())).append(" tokens, ");
  return text.append(std::to_string(data.loss_tokens())).append(" of them bear loss");
}

// What the manifest's dataset block did to the rows; empty where it did nothing.
inline std::string describe_filtered(const Dataset& data) {
  std::string text;
  const auto add = [&](std::int64_t n, const char* what) {
    if (n > 0) text.append(text.empty() ? "" : ", ").append(std::to_string(n)).append(" ").append(what);
  };
  add(data.too_short, "rows left out as too short");
  add(data.too_long, "rows left out as too long");
  add(data.duplicates, "duplicates left out");
  add(data.without_schema, "rows without their schema (schema_injection_prob)");
  add(data.blank_lines, "blank lines");
  return text;
}

inline std::string describe_over_long(const TrainingData& data) {
  const auto& over_long = data.packed().over_long;
  std::string text = std::to_string(over_long.size()) + " rows are longer than " +
                     std::to_string(data.packed().max_seq_length) + " tokens and are left out (line";
  for (std::size_t i = 0; i < std::min<std::size_t>(over_long.size(), 5); ++i)
    text.append(" ").append(std::to_string(data.data().lines[static_cast<std::size_t>(over_long[i])]));
  return text + (over_long.size() > 5 ? " ...)" : ")");
}

template <class E>
ExitCode train_expert(const TrainJob& job, Report& report) {
  namespace fs = std::filesystem;
  constexpr bool trains_base = E::tuning::trains_base;
  std::error_code error;
  if (trains_base && fs::equivalent(job.model, job.out, error))
    throw Error(bad_command_line, {.file = job.out,
                                   .where = "--out",
                                   .expected = "another directory than --model",
                                   .got = "the same",
                                   .fix = "Name a new directory"});
  CpuDevice device(job.threads);
  const Weights<E> weights = load_weights<E>(job.model, device);
  const Tokenizer tokenizer = Tokenizer::load(fs::path(job.model) / "tokenizer.json");
  check_vocabulary(tokenizer, E::model::vocab_size, (fs::path(job.model) / "tokenizer.json").string());
  const std::vector<std::int32_t> ends = end_tokens(job.model, weights.config());
  const std::optional<std::int32_t> end = ends.empty() ? std::nullopt : std::optional(ends.front());

  JsonlReader reader(open_plain_or_gzip(job.data), job.data);
  TrainingData data(
      read_dataset<typename E::chat_template>(reader, tokenizer, end, job.rows, job.filter),
      {.max_seq_length = E::packing::max_seq_length, .packed = E::packing::packing, .shuffled = true, .seed = job.seed},
      E::batch::batch_size, job.gradient_accumulation_steps, job.data);
  report.say("data: " + describe(data.data()));
  const std::string left_out = describe_filtered(data.data());
  if (!left_out.empty()) report.say("data: " + left_out);
  if (!data.packed().over_long.empty()) report.say("data: " + describe_over_long(data));
  char line[256];
  std::snprintf(line, sizeof line, "packing: %s, %zu rows of at most %lld tokens, fill %.4f",
                E::packing::packing ? "on" : "off (one document a row)", data.packed().rows.size(),
                static_cast<long long>(E::packing::max_seq_length), data.packed().fill());
  report.say(line);

  const std::int64_t steps =
      job.max_steps > 0 ? job.max_steps
                        : std::max<std::int64_t>(
                              1, std::llround(std::ceil(job.epochs * static_cast<double>(data.steps_per_epoch()))));
  Trainer<E> trainer(device, weights,
                     {.optimizer = job.optimizer, .dropout = static_cast<float>(job.dropout), .seed = job.seed});
  std::snprintf(line, sizeof line,
                "train: %lld steps of %lld x %lld rows, %lld parameters, %s, %d threads, arena %.1f MiB",
                static_cast<long long>(steps), static_cast<long long>(job.gradient_accumulation_steps),
                static_cast<long long>(E::batch::batch_size), static_cast<long long>(trainable_parameters<E>),
                std::string(name_of(device.cpu().isa)).c_str(), job.threads,
                static_cast<double>(TrainingPlan<E>::bytes(Trainer<E>::max_tokens)) / (1 << 20));
  report.say(line);
  detail::make_directory(job.out);
  const StopRequest stop;
  Progress progress(fs::path(job.out) / "metrics.jsonl", steps, data.steps_per_epoch(), data.packed().fill());
  for (std::int64_t i = 0; i < steps && !stop.requested(); ++i) {
    progress.add(trainer.step(data.step(i), learning_rate_at(job.optimizer, i, steps)));
    if ((i + 1) % job.logging_steps == 0 || i + 1 == steps) progress.log();
  }
  if (progress.has_unlogged()) progress.log();
  progress.finish();

  if constexpr (trains_base) {
    save_model<E>(trainer.parameters(), job.out, job.model);
  } else {
    save_adapter<E>(trainer.parameters(), job.out, job.model, job.dropout);
  }
  std::snprintf(line, sizeof line, "%s: saved after %lld steps, %lld tokens in %s (%.0f tokens/s), last loss %.4f",
                job.out.c_str(), static_cast<long long>(trainer.steps_done()),
                static_cast<long long>(progress.tokens()), clock_text(progress.seconds()).c_str(),
                static_cast<double>(progress.tokens()) / progress.seconds(), progress.last_loss());
  report.say(line);
  report.result()
      .set("steps", trainer.steps_done())
      .set("tokens", progress.tokens())
      .set("seconds", progress.seconds())
      .set("loss", progress.last_loss())
      .set("fill", data.packed().fill())
      .set("over_long", static_cast<std::int64_t>(data.packed().over_long.size()));
  return stop.requested() ? stop.exit_code() : ok;
}

}  // namespace cli
