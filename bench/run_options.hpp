// What step_bench and decode_bench share: the flags that name machine and base, the result as text or JSON, and a
// random base of the shape of Qwen3-0.6B in the temporary directory, written once, for what is measured without a
// download.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <string>

#include "random_model.hpp"

namespace expert::bench {

inline std::string random_base() {
  const std::filesystem::path directory = std::filesystem::temp_directory_path() / "expert-random-qwen3-0.6b-1";
  if (!std::filesystem::exists(directory / "config.json")) {
    std::fprintf(stderr, "writing a random base to %s\n", directory.c_str());
    std::filesystem::create_directories(directory);
    random_model::write_weights(directory, random_model::tensors_of(random_model::qwen3_0_6b), DType::BF16, 1, 0.02, 0);
    random_model::write_configs(directory, random_model::qwen3_0_6b, DType::BF16, 0.02, 151643, {151645, 151643},
                                151643);
  }
  return directory.string();
}

struct RunOptions {
  std::string isa, model, cache;
  int threads = 2;
  bool json = false, random = false;
};
inline void add_run_options(CLI::App& app, RunOptions& o) {
  app.add_flag("--json", o.json, "one JSON object on stdout");
  app.add_option("--threads", o.threads)->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--isa", o.isa, "instruction set; default: the best of this CPU");
  auto* model = app.add_option("--model", o.model, "directory of a checkpoint of that shape");
  app.add_option("--cache", o.cache, "directory that keeps packed weights; default: none");
  app.add_flag("--random-base", o.random, "random weights, written once to the temporary directory")->excludes(model);
}
inline void print_result(const RunOptions& o, const Json& result) {
  if (o.json) {
    std::printf("%s\n", result.dump().c_str());
  } else {
    for (const auto& [key, value] : result.members())
      if (value.is_array())
        for (const Json& item : value.items()) std::printf("%-22s %s\n", key.c_str(), item.dump().c_str());
      else
        std::printf("%-22s %s\n", key.c_str(), value.dump().c_str());
  }
}

}  // namespace expert::bench
