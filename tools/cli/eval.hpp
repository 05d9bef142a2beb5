// `eval`: rows that `generate` answered -> how many answers parse, run, equal the reference, and give its result.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/common.hpp"
#include "cli/eval_sql.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/data/shapes.hpp"
#include "expert/io/gzip.hpp"
#include "expert/manifest.hpp"

namespace cli {

struct EvalOptions {
  std::string manifest, input, output, group, prefix;
  std::int64_t limit = 0;
};

inline CLI::App* add_eval(CLI::App& app, EvalOptions& options) {
  CLI::App* command = app.add_subcommand("eval", "Judges the answers that generate wrote against the rows' own");
  command->add_option("--manifest", options.manifest, "manifest.json of the expert")->required();
  command->add_option("--input", options.input, "what generate wrote: JSON lines, plain or gzip")->required();
  command->add_option("--group", options.group, "a key of the rows: figures for each of its values too");
  command->add_option("--limit", options.limit, "rows from the start; 0: all")->check(CLI::NonNegativeNumber);
  command->add_option("--prefix", options.prefix, "stands before every answer: what the prompt had begun of it");
  command->add_option("--output", options.output, "JSON lines: each row with its verdicts under \"eval\"");
  return command;
}

// Share, interval and counts of one metric, in per cent: "98.9 % [98.0, 99.4] 989/1000".
inline std::string share_text(const Share& share) {
  if (share.n == 0) return "not measured";
  const Interval interval = wilson(share);
  char text[96];
  std::snprintf(text, sizeof text, "%5.1f %% [%.1f, %.1f] %lld/%lld", 100 * share.value(), 100 * interval.low,
                100 * interval.high, static_cast<long long>(share.count), static_cast<long long>(share.n));
  return text;
}

inline Json share_json(const Share& share) {
  const Interval interval = wilson(share);
  const bool measured = share.n > 0;
  return Json::object()
      .set("n", share.n)
      .set("count", share.count)
      .set("share", measured ? Json(share.value()) : Json())
      .set("low", measured ? Json(interval.low) : Json())
      .set("high", measured ? Json(interval.high) : Json());
}

inline void put_tally(Json& to, const SqlTally& tally) {
  to.set("n", tally.rows);
  for (std::size_t m = 0; m < tally.metrics.size(); ++m) to.set(sql_metric_names[m], share_json(tally.metrics[m]));
  Json not_measured = Json::object();
  for (std::size_t g = 0; g < tally.gaps.size(); ++g) not_measured.set(sql_gap_names[g], tally.gaps[g]);
  to.set("not_measured", std::move(not_measured));
}

inline std::string group_of(const JsonRow& row, const std::string& key) {
  const Json* value = row.value.find(key);
  if (value == nullptr || value->is_null()) return "(none)";
  return value->is_string() ? value->as_string() : value->dump();
}

inline Json verdict_json(const SqlVerdict& verdict) {
  Json json = Json::object();
  for (std::size_t m = 0; m < verdict.metrics.size(); ++m)
    json.set(sql_metric_names[m], verdict.metrics[m] ? Json(*verdict.metrics[m]) : Json());
  for (std::size_t g = 0; g < verdict.gaps.size(); ++g)
    if (verdict.gaps[g]) json.set(sql_gap_names[g], true);
  if (!verdict.message.empty()) json.set("message", utf8_lossy(verdict.message));
  return json;
}

inline void say_table(const std::string& name, const SqlTally& tally, const Report& report) {
  report.say(name + ": " + std::to_string(tally.rows) + " rows");
  for (std::size_t m = 0; m < tally.metrics.size(); ++m) {
    char line[160];
    std::snprintf(line, sizeof line, "  %-16s %s", std::string(sql_metric_names[m]).c_str(),
                  share_text(tally.metrics[m]).c_str());
    report.say(line);
  }
  for (std::size_t g = 0; g < tally.gaps.size(); ++g)
    if (tally.gaps[g] > 0)
      report.say("  not measured: " + std::to_string(tally.gaps[g]) + " rows, " + std::string(sql_gap_sentences[g]));
}

// Throws E401 for a manifest whose answers have no metrics here, E405 without the libraries, E255 for a row without
// `output`.
inline ExitCode run_eval(const EvalOptions& options, Report& report) {
  const Manifest manifest = load_manifest(options.manifest);
  const Json* type = manifest.find("/training/decoding/grammar_type");
  if (type == nullptr || type->as_string() != "sql-postgres")
    throw Error(bad_command_line, {.file = options.manifest,
                                   .where = "/training/decoding/grammar_type",
                                   .expected = "sql-postgres, the one language that eval judges so far",
                                   .got = type == nullptr ? "none" : expert::quoted(type->as_string()),
                                   .fix = "Evaluate an SQL expert"});
  require_sql();
  RowOptions names;
  names.field_mapping = dataset_values(manifest).field_mapping;
  SqlJudge judge;
  SqlTally total;
  std::map<std::string, SqlTally> groups;
  std::optional<RowWriter> writer;
  if (!options.output.empty()) writer.emplace(options.output);
  const auto source = open_plain_or_gzip(options.input);
  JsonlReader reader(*source, options.input);
  for (JsonRow row; (options.limit == 0 || total.rows < options.limit) && reader.next(row);) {
    SqlRow judged = sql_row(row, options.input, names);
    judged.output.insert(0, options.prefix);
    const SqlVerdict verdict = judge(judged);
    total.add(verdict);
    if (!options.group.empty()) groups[group_of(row, options.group)].add(verdict);
    if (!writer) continue;
    row.value.set("output", judged.output).set("eval", verdict_json(verdict));
    writer->write(row.value);
  }
  require_rows(reader);
  if (writer) writer->commit();

  say_table(options.input, total, report);
  for (const auto& [name, tally] : groups) say_table(options.group + " " + utf8_lossy(name), tally, report);
  if (judge.processes_lost() > 0)
    report.say("queries that their process did not survive: " + std::to_string(judge.processes_lost()));
  put_tally(report.result(), total);
  if (!options.group.empty()) {
    Json list = Json::object();
    for (const auto& [name, tally] : groups) {
      Json entry = Json::object();
      put_tally(entry, tally);
      list.set(name, std::move(entry));
    }
    report.result().set("group", utf8_lossy(options.group)).set("groups", std::move(list));
  }
  return ok;
}

}  // namespace cli
