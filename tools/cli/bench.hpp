// `bench`: what an expert adds to its base while it generates, measured; --write keeps it beside the manifest, where
// `validate` compares it with the declared bounds on the same device.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>

#include "cli/common.hpp"
#include "cli/jobs.hpp"
#include "cli/measured.hpp"
#include "cli/resolve.hpp"

namespace cli {

struct BenchFlags {
  ModelOptions model;
  std::string adapter;
  bool write = false;
  std::int64_t prompt_tokens = 256, new_tokens = 32;
};

inline CLI::App* add_bench(CLI::App& app, BenchFlags& flags) {
  CLI::App* command = app.add_subcommand("bench", "Measures the time per generated token with and without the adapter");
  add_model_options(*command, flags.model);
  command->add_option("--adapter", flags.adapter,
                      "PEFT directory; without it an untrained adapter, which takes as long");
  command->add_option("--prompt-tokens", flags.prompt_tokens)->check(CLI::Range(1, 8192))->capture_default_str();
  command->add_option("--new-tokens", flags.new_tokens, "timed tokens, base and expert in turns; the medians count")
      ->check(CLI::Range(1, 8192))
      ->capture_default_str();
  command->add_flag("--write", flags.write, "keep the result in measured.json beside the manifest");
  return command;
}

template <class Experts>
ExitCode run_bench(Experts experts, const BenchFlags& flags, Report& report) {
  const Manifest manifest = load_with_settings(flags.model);
  const BenchJob job{.model = flags.model.model,
                     .cache = cache_directory(flags.model.cache),
                     .adapter = flags.adapter,
                     .record = flags.write ? measured_file(manifest) : std::string(),
                     .threads = flags.model.threads,
                     .prompt_tokens = flags.prompt_tokens,
                     .new_tokens = flags.new_tokens};
  return with_resolved(experts, flags.model, manifest, report, [&]<class E>(std::type_identity<E>) {
    check_pin(flags.model, manifest, report);
    return bench_expert<E>(job, report);
  });
}

}  // namespace cli
