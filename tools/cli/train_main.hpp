// The arguments of main, one expert as a type and its manifest -> the program that trains it: `expert-cli train`
// without the choice of an expert. Included by train.cpp of an expert only.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>

#include "cli/command_line.hpp"
#include "cli/train.hpp"
#include "expert/registry.hpp"

namespace cli {

// `manifest` is what --manifest is by default.
template <class E>
int train_main(int argc, char** argv, const std::string& manifest) {
  CLI::App app("Trains " + type_name<E>(), std::filesystem::path(argv[0]).filename().string());
  TrainOptions options;
  options.model.manifest = manifest;
  options.command.assign(argv, argv + argc);
  add_train_options(app, options);
  return run_program(app, argc, argv, [&](Report& report) { return run_train(Registry<E>{}, options, report); });
}

}  // namespace cli
