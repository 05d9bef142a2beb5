// `version` and `env`: what this program is, and what it runs on.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "cli/build_info.hpp"
#include "cli/common.hpp"
#include "cli/run_record.hpp"
#include "expert/core/config.hpp"
#include "expert/cpu/isa.hpp"

namespace cli {

inline CLI::App* add_version(CLI::App& app) { return app.add_subcommand("version", "Version, commit, compiler"); }
inline ExitCode run_version(Report& report) {
  const BuildInfo& build = build_info();
  const std::string version = library_version();
  report.result()
      .set("version", version)
      .set("git", build.git)
      .set("compiler", build.compiler)
      .set("flags", build.flags);
  if (!report.wants_json())
    std::printf("expert-cli %s (%s; %s; %s)\n", version.c_str(), build.git, build.compiler, build.flags);
  return ok;
}

inline CLI::App* add_env(CLI::App& app) {
  return app.add_subcommand("env", "Processor, instruction sets, memory: what runs are measured on");
}
inline ExitCode run_env(Report& report) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  Json machine = machine_record(best_isa(), cores);
  Json usable = Json::array();
  std::string names;
  for (const Isa isa : all_isas)
    if (supports(cpu_features(), isa)) {
      usable.push(Json(name_of(isa)));
      append(names, {names.empty() ? "" : ", ", name_of(isa)});
    }
  report.say(joined({cpu_model(), ", ", cores, " cores, ", machine.find("memory_bytes")->as_int() >> 20, " MiB"}));
  report.say(joined({"kernels: ", name_of(best_isa()), " (usable here: ", names, ")"}));
  machine.set("usable_isas", std::move(usable));
  report.result().set("machine", std::move(machine));
  return run_version(report);
}

}  // namespace cli
