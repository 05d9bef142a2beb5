// One run of training for the expert E: rows -> adapter (or base), checkpoints, logs, report.html. Included by the one
// translation unit of each expert only.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/cached.hpp"
#include "cli/jobs.hpp"
#include "cli/leaks.hpp"
#include "cli/progress.hpp"
#include "cli/run_record.hpp"
#include "cli/samples.hpp"
#include "cli/signals.hpp"
#include "cli/train_records.hpp"
#include "expert/adapter_file.hpp"
#include "expert/io/gzip.hpp"
#include "expert/io/hf_config.hpp"
#include "expert/io/run_directory.hpp"
#include "expert/io/training_log.hpp"
#include "expert/text/tokenizer.hpp"
#include "expert/tokens.hpp"
#include "expert/trainer.hpp"
#include "expert/training_run.hpp"
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
  const auto add_first = [&](const LeftOut& left_out, const char* what) {
    add(left_out.rows, what);
    if (left_out.rows > 0) expert::append(text, {", the first in line ", left_out.first_line});
  };
  add_first(data.not_json, "rows left out whose answer is not JSON");
  add_first(data.not_by_schema, "rows left out whose answer does not fit their schema");
  add(data.with_aliases, "rows with table aliases");
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

// The command that goes on with this run.
inline std::string resume_command(const TrainJob& job) {
  std::vector<std::string> words = job.command;
  if (std::find(words.begin(), words.end(), "--resume") == words.end()) words.emplace_back("--resume");
  return job.command.empty() ? "the same command with --resume" : shell_line(words);
}

// A resumed run takes the instruction set that it began with, where this CPU has it.
inline Isa isa_of_run(const std::optional<SavedCheckpoint>& checkpoint) {
  const char* forced = std::getenv("EXPERT_ISA");
  if (checkpoint && (forced == nullptr || *forced == '\0'))
    if (const Json* name = checkpoint->run.find("isa"); name != nullptr && name->is_string())
      for (const Isa isa : all_isas)
        if (name_of(isa) == name->as_string() && supports(cpu_features(), isa)) return isa;
  return isa_from_environment_for_tests();
}

// What the rows become depends on all of these.
inline Json dataset_item(const TrainJob& job) {
  Json mapping = Json::object();
  for (const auto& [ours, theirs] : job.rows.field_mapping) mapping.set(ours, theirs);
  Json item = Json::object();
  item.set("field_mapping", std::move(mapping))
      .set("context_prefix", job.rows.context_prefix)
      .set("comment_stripping", job.rows.sql.comment_stripping)
      .set("case_normalization", static_cast<int>(job.rows.sql.case_normalization))
      .set("min_length", job.filter.min_length)
      .set("max_length", job.filter.max_length)
      .set("deduplicate", job.filter.deduplicate)
      .set("schema_injection_prob", job.filter.schema_injection_prob);
  // Named where they are on, so that older checkpoints without them go on.
  if (job.filter.table_aliases) item.set("table_aliases", true);
  if (job.filter.validate_json) item.set("validate_json", true);
  if (job.filter.validate_schema.fits != nullptr) item.set("validate_schema", true);
  return item;
}

template <class E>
TrainingData read_rows(const std::string& file, const TrainJob& job, const Tokenizer& tokenizer,
                       std::optional<std::int32_t> end, bool training) {
  const auto source = open_plain_or_gzip(file);
  JsonlReader reader(*source, file);
  const RowFilterOptions filter = training ? job.filter : RowFilterOptions{};
  const bool streaming = training && job.streaming;
  return TrainingData(read_dataset<typename E::chat_template>(reader, tokenizer, end, job.rows, filter,
                                                              streaming ? job.out : std::string()),
                      {.max_seq_length = E::packing::max_seq_length,
                       .packed = E::packing::packing,
                       .streaming = streaming,
                       .shuffled = training,
                       .seed = job.seed,
                       .group_by_length = training && job.group_by_length},
                      E::batch::batch_size, training ? job.gradient_accumulation_steps : 1, file);
}

inline void say_rows(const char* what, const TrainingData& data, const Report& report) {
  const std::string name = std::string(what) + ": ";
  report.say(name + describe(data.data()));
  const std::string left_out = describe_filtered(data.data());
  if (!left_out.empty()) report.say(name + left_out);
  if (!data.packed().over_long.empty()) report.say(name + describe_over_long(data));
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
  RunDirectory directory(job.out);
  std::optional<SavedCheckpoint> checkpoint;
  auto say_notices = [&, said = std::size_t{0}]() mutable {
    for (; said < directory.notices().size(); ++said) report.say(directory.notices()[said]);
  };
  say_notices();
  if (job.resume) {
    try {
      checkpoint = directory.newest_verified();
    } catch (...) {
      say_notices();
      throw;
    }
    say_notices();
  } else {
    directory.require_no_checkpoints();
  }

  CpuDevice device(job.threads, isa_of_run(checkpoint));
  const Weights<E> weights = load_base<E>(job, device, report);
  const std::string tokenizer_file = (fs::path(job.model) / "tokenizer.json").string();
  const Tokenizer tokenizer = load_tokenizer(tokenizer_file, job.cache, report);
  check_vocabulary(tokenizer, E::model::vocab_size, tokenizer_file);
  const std::vector<std::int32_t> ends = end_tokens(job.model, weights.config());
  const std::optional<std::int32_t> end = ends.empty() ? std::nullopt : std::optional(ends.front());

  TrainingData data = read_rows<E>(job.data, job, tokenizer, end, true);
  say_rows("data", data, report);
  char line[256];
  std::snprintf(line, sizeof line, "packing: %s (%s), %zu rows of at most %lld tokens, fill %.4f",
                data.path() == RowPath::packed ? "on" : "off, one document a row", data.path_reason().c_str(),
                data.packed().rows.size(), static_cast<long long>(E::packing::max_seq_length), data.fill());
  report.say(line);
  if (job.streaming)
    report.say(joined({"streaming: ", data.data().tokens(), " tokens in a file under ", job.out, ", not in memory"}));
  if (job.group_by_length)
    report.say(data.path() == RowPath::packed ? "group_by_length: packed rows are equally long already"
                                              : "group_by_length: batches of similar lengths, the longest row first");
  std::optional<TrainingData> valid;
  if (!job.valid.empty()) {
    valid.emplace(read_rows<E>(job.valid, job, tokenizer, end, false));
    say_rows("evaluation rows", *valid, report);
  }

  std::optional<Leaks> leaks;
  if (!job.test.empty()) {
    leaks = count_leaks(job.test, job.data, job.rows);
    report.say(joined({"test rows: ", leaks->leaked, " of ", leaks->rows, " rows of ", job.test,
                       " are asked in the training rows too",
                       leaks->leaked == 0 ? std::string() : joined({", the first in line ", leaks->first_line})}));
  }

  Trainer<E> trainer(device, weights,
                     {.optimizer = job.optimizer, .dropout = static_cast<float>(job.dropout), .seed = job.seed});
  TrainingRun<E> run(trainer, data, job.run);
  if (valid) run.evaluate_on(*valid);
  const RunItem data_item = file_item("data", job.data), base = base_item(job.model);
  run.save_into(directory, job.model,
                {data_item,
                 file_item("tokenizer", tokenizer_file),
                 base,
                 {"end_token", end ? Json(*end) : Json("none")},
                 {"dataset", dataset_item(job)}});
  if (checkpoint) {
    const std::string note = run.resume(*checkpoint);
    if (!note.empty()) report.say(note);
    std::snprintf(line, sizeof line, "step %lld of %lld", static_cast<long long>(run.state().global_step),
                  static_cast<long long>(run.state().max_steps));
    report.say((run.finished() ? "this run is finished: " : "resumed: ") + checkpoint->path + ", " + line +
               (run.finished() ? ", nothing is left to train" : ""));
  }
  const std::int64_t planned_bytes = TrainingPlan<E>::bytes(Trainer<E>::max_tokens);
  std::snprintf(
      line, sizeof line, "train: %lld steps of %lld x %lld rows, %lld parameters, %s, %d threads, arena %.1f MiB",
      static_cast<long long>(run.state().max_steps), static_cast<long long>(job.gradient_accumulation_steps),
      static_cast<long long>(E::batch::batch_size), static_cast<long long>(trainable_parameters<E>),
      std::string(name_of(device.cpu().isa)).c_str(), job.threads, static_cast<double>(planned_bytes) / (1 << 20));
  report.say(line);

  Json record = job.record, rows = Json::object().set("train", data_record(job.data, data_item.value, data));
  if (leaks)
    rows.set(
        "test",
        Json::object().set("path", utf8_lossy(job.test)).set("rows", leaks->rows).set("in_training", leaks->leaked));
  if (valid) rows.set("evaluation", data_record(job.valid, sha256_file(job.valid), *valid));
  record.set("machine", machine_record(device.cpu().isa, job.threads))
      .set("base", base_record(job.model, base.value))
      .set("data", std::move(rows));

  const StopRequest stop;
  ProgressLine progress(planned_bytes);
  JsonlLog metrics(fs::path(job.out) / "metrics.jsonl");
  CsvLog csv(fs::path(job.out) / "metrics.csv");
  TensorBoardLog tensorboard(job.out);
  RunFiles files(job.out, std::move(record));
  const TrainingState& state = run.train(progress, metrics, csv, tensorboard, files, stop);
  if (state.best_metric) {
    std::snprintf(line, sizeof line, "best evaluation: loss %.4f at step %lld%s", *state.best_metric,
                  static_cast<long long>(state.best_global_step),
                  job.run.load_best_model_at_end && run.finished() ? ", which is the result" : "");
    report.say(line);
  }

  if constexpr (trains_base) {
    // As transformers saves it: in the type that the model's config names.
    if (weights.config().dtype == DType::BF16) {
      save_model<E, bf16>(trainer.parameters(), job.out, job.model);
    } else {
      save_model<E>(trainer.parameters(), job.out, job.model);
    }
  } else {
    save_adapter<E>(trainer.adapter(), job.out, job.model, job.dropout);
  }
  const TrainedFiles trained{.out = job.out,
                             .adapter = trains_base ? "" : "adapter_model.safetensors",
                             .base = base.value,
                             .data_sha256 = data_item.value,
                             .rows = data.data().documents.size()};
  write_file((fs::path(job.out) / "manifest.json").string(),
             manifest_with_records(job.manifest, trained, state, directory.steps()).dump(2) + "\n");
  if constexpr (!trains_base) {
    if (job.samples > 0 && state.stop_reason != TrainingStop::requested) {
      const TrainingData& asked = valid ? *valid : data;
      files.add_samples(make_samples<E>(device, weights, trainer.adapter(), tokenizer,
                                        {.file = valid ? job.valid : job.data,
                                         .lines = evenly_spaced(asked.data().lines, job.samples),
                                         .rows = job.rows,
                                         .end_tokens = ends,
                                         .stop_sequences = job.stop_sequences}));
    }
  }
  double loss = 0;
  for (const Json& row : state.log_history.items())
    if (const Json* found = row.find("loss")) loss = found->as_double();
  std::snprintf(line, sizeof line, "%s: saved after %lld steps (%s), %lld tokens in %s, last loss %.4f",
                job.out.c_str(), static_cast<long long>(state.global_step),
                std::string(name_of(state.stop_reason)).c_str(), static_cast<long long>(state.num_input_tokens_seen),
                clock_text(state.seconds).c_str(), loss);
  report.say(line);
  report.say("report: " + job.out + "/report.html");
  report.result()
      .set("steps", state.global_step)
      .set("stop_reason", name_of(state.stop_reason))
      .set("tokens", state.num_input_tokens_seen)
      .set("seconds", state.seconds)
      .set("loss", loss)
      .set("fill", state.packing_fill)
      .set("over_long", static_cast<std::int64_t>(data.packed().over_long.size()));
  if (state.best_metric)
    report.result().set("best_eval_loss", *state.best_metric).set("best_step", state.best_global_step);
  if (state.stop_reason != TrainingStop::requested) return ok;
  report.say("interrupted: " + directory.checkpoint_path(state.global_step) + " is saved. Go on with:\n  " +
             resume_command(job));
  return stop.exit_code();
}

}  // namespace cli
