// `report`: the output directory of a training, evaluations and answers -> report.html.
#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "cli/common.hpp"
#include "cli/report_files.hpp"
#include "cli/samples.hpp"

namespace cli {

struct ReportOptions {
  std::string directory;
  std::vector<std::string> evals, answers;
  std::int64_t samples = 5;
};

inline CLI::App* add_report(CLI::App& app, ReportOptions& options) {
  CLI::App* command = app.add_subcommand("report", "Writes the report.html of a training again, with evaluations");
  command->add_option("directory", options.directory, "what train wrote: the directory with run.json")->required();
  const auto many = [&](const char* flag, std::vector<std::string>& to, const char* help) {
    command->add_option(flag, to, help)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  many("--eval", options.evals, "NAME=FILE: what eval --json printed; a row of the table for each");
  many("--answers", options.answers, "NAME=FILE: what generate (or eval --output) wrote; shown side by side");
  command->add_option("--samples", options.samples, "rows to show of --answers")->check(CLI::Range(0, 1000));
  return command;
}

// "expert=runs/eval.json". Throws E401.
inline std::pair<std::string, std::string> name_and_file(const std::string& flag, const std::string& argument) {
  const std::size_t equals = argument.find('=');
  if (equals == argument.npos || equals == 0 || equals + 1 == argument.size())
    throw Error(
        bad_command_line,
        {.where = flag, .expected = "NAME=FILE", .got = expert::quoted(argument), .fix = "Name what the file holds"});
  return {utf8_lossy(argument.substr(0, equals)), argument.substr(equals + 1)};
}

// The field_mapping with which the run read its rows.
inline RowOptions rows_as_trained(const Json& run) {
  RowOptions options;
  constexpr std::string_view prefix = "/training/dataset/field_mapping/";
  if (const Json* fields = run.find("configuration"); fields != nullptr && fields->is_array())
    for (const Json& field : fields->items()) {
      const Json *pointer = field.find("pointer"), *value = field.find("value");
      if (pointer == nullptr || value == nullptr || !pointer->is_string() || !value->is_string()) continue;
      if (pointer->as_string().starts_with(prefix))
        options.field_mapping.emplace_back(pointer->as_string().substr(prefix.size()), value->as_string());
    }
  return options;
}

// The answers of each file to the same rows, side by side. Throws E401 where the files hold neither the same ids nor
// the same questions.
inline Json samples_of(const ReportOptions& options, const RowOptions& rows) {
  std::vector<Json> samples;
  std::vector<std::string> ids;  // of the first file's rows
  std::vector<std::int64_t> lines;
  std::string first_file;
  for (const std::string& argument : options.answers) {
    const auto [name, file] = name_and_file("--answers", argument);
    if (first_file.empty()) {
      first_file = file;
      std::vector<std::int64_t> all;
      const auto source = open_plain_or_gzip(file);
      JsonlReader reader(*source, file);
      for (JsonRow row; reader.next(row);) all.push_back(row.line);
      lines = evenly_spaced(all, options.samples);
    }
    const std::vector<JsonRow> chosen = rows_on(file, lines);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      Json sample = i < chosen.size() ? sample_of(chosen[i], file, rows) : Json::object();
      const Json* id = i < chosen.size() ? chosen[i].value.find("id") : nullptr;
      if (samples.size() <= i) {
        samples.push_back(sample);
        ids.push_back(id == nullptr ? "" : id->dump());
      }
      // A row with the same id may be asked in another form; shown is the one that is told apart from its context.
      const bool same_row = id != nullptr && id->dump() == ids[i];
      if (same_row && sample.find("context") != nullptr && samples[i].find("context") == nullptr) {
        if (const Json* answers = samples[i].find("answers")) sample.set("answers", *answers);
        samples[i] = sample;
      }
      const Json *asked = samples[i].find("question"), *here = sample.find("question");
      if (!same_row && (here == nullptr || asked == nullptr || here->as_string() != asked->as_string()))
        throw Error(bad_command_line, {.file = file,
                                       .where = "line " + std::to_string(lines[i]),
                                       .expected = "the question that " + first_file + " has on that line",
                                       .got = here == nullptr ? "none" : expert::quoted(here->as_string()),
                                       .fix = "Let every file answer the same rows"});
      Json answer = Json::object().set("system", name);
      for (const char* key : {"output", "eval"})
        if (const Json* value = chosen[i].value.find(key)) answer.set(key, *value);
      Json answers = samples[i].find("answers") == nullptr ? Json::array() : *samples[i].find("answers");
      samples[i].set("answers", answers.push(std::move(answer)));
    }
  }
  Json list = Json::array();
  for (Json& sample : samples) list.push(std::move(sample));
  std::string note = std::to_string(lines.size());
  note.append(" rows, evenly spaced over ").append(utf8_lossy(first_file)).append(", whatever the answers are.");
  return Json::object().set("note", note).set("rows", std::move(list));
}

inline ExitCode run_report(const ReportOptions& options, Report& report) {
  ReportExtras extras;
  for (const std::string& argument : options.evals) {
    const auto [name, file] = name_and_file("--eval", argument);
    extras.evals.emplace_back(name, read_json(file, run_file_bytes));
  }
  if (!options.answers.empty() && options.samples > 0)
    extras.samples = samples_of(options, rows_as_trained(read_json(options.directory + "/run.json", run_file_bytes)));
  write_report(options.directory, std::move(extras));
  report.say(options.directory + "/report.html: written");
  report.result().set("report", utf8_lossy(options.directory + "/report.html"));
  return ok;
}

}  // namespace cli
