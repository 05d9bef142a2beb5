// `train`: manifest, flags and rows -> an adapter directory, or a trained base, by the expert that agrees with them.
#pragma once
#include <CLI/CLI.hpp>

#include <optional>

#include "cli/common.hpp"
#include "cli/jobs.hpp"
#include "cli/resolve.hpp"
#include "cli/run_record.hpp"
#include "cli/train_options.hpp"
#include "schema_judge.hpp"

namespace cli {

inline CLI::App* add_train(CLI::App& app, TrainOptions& options) {
  CLI::App* command = app.add_subcommand("train", "Trains the expert of a manifest on rows of text");
  add_train_options(*command, options);
  return command;
}

template <class Experts>
ExitCode run_train(Experts experts, const TrainOptions& options, Report& report) {
  const Manifest manifest = load_with_settings(options.model);
  return with_resolved(experts, options.model, manifest, report, [&]<class E>(std::type_identity<E>) {
    announce_inert(manifest, report);
    check_pin(options.model, manifest, report);
    TrainJob job = make_train_job(options, manifest, report);
    std::optional<SchemaJudge> judge;
    if (dataset_values(manifest).validate_schema)
      job.filter.validate_schema = judge.emplace(grammar_type(manifest), manifest.file).check();
    job.record = run_record<E>(manifest, job);
    say_values(manifest, job, report);
    const ExitCode code = train_expert<E>(job, report);
    if (judge && judge->unjudged() > 0)
      report.say(joined({"validate_schema: ", judge->unjudged(),
                         " rows say what SQLite does not know: only their syntax was judged"}));
    return code;
  });
}

}  // namespace cli
