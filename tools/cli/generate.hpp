// `generate`: rows -> the same rows with {output, stop_reason, valid, tokens}, from the base alone or with an adapter.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <string>

#include "cli/answer_options.hpp"
#include "cli/common.hpp"
#include "cli/jobs.hpp"
#include "cli/resolve.hpp"

namespace cli {

struct GenerateFlags : AnswerFlags {
  std::string input, output, kv_cache;
  std::int64_t batch_size = 8, retries = 3;
  OnInvalid on_invalid = OnInvalid::mark;
  bool stream = false;
};

inline CLI::App* add_generate(CLI::App& app, GenerateFlags& flags) {
  CLI::App* command = app.add_subcommand("generate", "Answers rows with a base model or an expert");
  add_answer_options(*command, flags);
  command->add_option("--input", flags.input,
                      "JSON lines, plain or gzip; default: the manifest's test_cases, else its test_path");
  command->add_option("--output", flags.output, "JSON lines")->required();
  command->add_option("--batch-size", flags.batch_size, "rows decoded at once: one of /perf/supported_batch_sizes")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command
      ->add_option("--on-invalid", flags.on_invalid,
                   "an answer that is refused is marked, drawn again with another seed, or an error")
      ->transform(CLI::CheckedTransformer(std::map<std::string, OnInvalid>{
          {"mark", OnInvalid::mark}, {"retry", OnInvalid::retry}, {"error", OnInvalid::error}}));
  command->add_option("--retries", flags.retries, "draws at most, with --on-invalid retry")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--kv-cache", flags.kv_cache,
                      "file with keys and values of what all prompts begin with: read where it exists, else written");
  command->add_flag("--stream", flags.stream,
                    "the answers to stdout too, as they grow: one after another, or with --json as lines {row, text} "
                    "before the result, row being the line of the input");
  return command;
}

// --input; else the rows that the manifest keeps for tests, relative to it. Throws E401 where there are none.
inline std::string rows_to_answer(const GenerateFlags& flags, const Manifest& manifest, const Report& report) {
  if (!flags.input.empty()) return flags.input;
  for (const char* pointer : {"/evaluation/test_cases", "/training/dataset/test_path"}) {
    const Json* path = manifest.find(pointer);
    if (path == nullptr || path->as_string().empty()) continue;
    const std::string file = (std::filesystem::path(manifest.file).parent_path() / path->as_string()).string();
    report.say(joined({"input: ", file, " (", pointer, ", ", manifest.origin(pointer), ")"}));
    return file;
  }
  throw Error(bad_command_line, {.file = manifest.file,
                                 .where = "/training/dataset/test_path",
                                 .expected = "rows to answer",
                                 .got = "neither --input nor this field nor /evaluation/test_cases",
                                 .fix = "Give --input FILE"});
}

template <class Experts>
ExitCode run_generate(Experts experts, const GenerateFlags& flags, Report& report) {
  const Manifest manifest = load_with_settings(flags.model);
  GenerateJob job;
  job.input = rows_to_answer(flags, manifest, report);
  job.output = flags.output;
  job.batch_size = flags.batch_size;
  job.kv_cache = flags.kv_cache;
  job.on_invalid = flags.on_invalid;
  job.retries = flags.retries;
  job.stream = flags.stream;
  return with_resolved(experts, flags.model, manifest, report, [&]<class E>(std::type_identity<E>) {
    check_pin(flags.model, manifest, report);
    fill_answer_job<E>(flags, manifest, job, report);
    return generate_expert<E>(job, report);
  });
}

}  // namespace cli
