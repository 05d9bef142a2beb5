// `eval`: rows that `generate` answered -> how many answers parse, run, equal the reference, and give its result; and
// with --write the manifest's /quality_metrics.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "cli/common.hpp"
#include "cli/eval_sql.hpp"
#include "cli/eval_text.hpp"
#include "cli/manifest_edit.hpp"
#include "cli/run_record.hpp"
#include "cli/suite.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/data/shapes.hpp"
#include "expert/io/gzip.hpp"
#include "expert/io/sha256.hpp"
#include "expert/manifest.hpp"

namespace cli {

struct EvalOptions {
  std::string manifest, input, output, group, prefix;
  std::int64_t limit = 0;
  bool write = false;
};

inline CLI::App* add_eval(CLI::App& app, EvalOptions& options) {
  CLI::App* command = app.add_subcommand("eval", "Judges the answers that generate wrote against the rows' own");
  command->add_option("--manifest", options.manifest, "manifest.json of the expert")->required();
  command->add_option("--input", options.input, "what generate wrote: JSON lines, plain or gzip")->required();
  command->add_option("--group", options.group, "a key of the rows: figures for each of its values too");
  command->add_option("--limit", options.limit, "rows from the start; 0: all")->check(CLI::NonNegativeNumber);
  command->add_option("--prefix", options.prefix, "stands before every answer: what the prompt had begun of it");
  command->add_option("--output", options.output, "JSON lines: each row with its verdicts under \"eval\"");
  command->add_flag("--write", options.write, "the figures into the manifest, as /quality_metrics");
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

inline void put_tally(Json& to, const Tally& tally, const Suite& suite) {
  to.set("n", tally.rows);
  for (const Metric m : suite.metrics) to.set(name_of(m), share_json(tally[m]));
  Json not_measured = Json::object();
  for (std::size_t g = 0; g < tally.gaps.size(); ++g) not_measured.set(gap_names[g], tally.gaps[g]);
  to.set("not_measured", std::move(not_measured));
}

inline std::string group_of(const JsonRow& row, const std::string& key) {
  const Json* value = row.value.find(key);
  if (value == nullptr || value->is_null()) return "(none)";
  return value->is_string() ? value->as_string() : value->dump();
}

inline Json verdict_json(const Verdict& verdict, const Suite& suite) {
  Json json = Json::object();
  for (const Metric m : suite.metrics) json.set(name_of(m), verdict[m] ? Json(*verdict[m]) : Json());
  for (std::size_t g = 0; g < verdict.gaps.size(); ++g)
    if (verdict.gaps[g]) json.set(gap_names[g], true);
  if (!verdict.message.empty()) json.set("message", utf8_lossy(verdict.message));
  return json;
}

inline void say_table(const std::string& name, const Tally& tally, const Suite& suite, const Report& report) {
  report.say(name + ": " + std::to_string(tally.rows) + " rows");
  for (const Metric m : suite.metrics) {
    char line[160];
    std::snprintf(line, sizeof line, "  %-16s %s", std::string(name_of(m)).c_str(), share_text(tally[m]).c_str());
    report.say(line);
  }
  for (std::size_t g = 0; g < tally.gaps.size(); ++g)
    if (tally.gaps[g] > 0)
      report.say("  not measured: " + std::to_string(tally.gaps[g]) + " rows, " + std::string(gap_sentences[g]));
}

// The commit of the work tree that the manifest lies in; empty where there is none, or no git.
inline std::string commit_of(const std::string& manifest) {
  const std::string directory = std::filesystem::absolute(manifest).parent_path().string();
  const std::string command = shell_line({"git", "-C", directory, "rev-parse", "HEAD"}) + " 2>/dev/null";
  std::string commit;
  if (std::FILE* output = ::popen(command.c_str(), "r")) {
    char line[80];
    if (std::fgets(line, sizeof line, output) != nullptr) commit = line;
    ::pclose(output);
  }
  while (commit.ends_with('\n')) commit.pop_back();
  return commit;
}

// /quality_metrics: what was measured, of how many rows, when, on which file, at which commit.
inline Json quality_metrics(const EvalOptions& options, const Tally& tally, const Suite& suite) {
  Json quality = Json::object();
  quality.set("n", tally.rows).set("date", utc_now()).set("data_sha256", sha256_file(options.input));
  if (const std::string commit = commit_of(options.manifest); !commit.empty()) quality.set("commit", commit);
  for (const Metric m : suite.metrics) {
    if (tally[m].n == 0) continue;
    const Interval interval = wilson(tally[m]);
    quality.set(name_of(m),
                Json::object().set("share", tally[m].value()).set("low", interval.low).set("high", interval.high));
  }
  return quality;
}

struct EvalTotals {
  Tally all;
  std::map<std::string, Tally> groups;
};

// judge(JsonRow, the row with its output, its verdict) for every row. Throws E255 and E256.
template <class Judge>
EvalTotals judge_rows(const EvalOptions& options, const Suite& suite, const Judge& judge) {
  EvalTotals totals;
  std::optional<RowWriter> writer;
  if (!options.output.empty()) writer.emplace(options.output);
  const auto source = open_plain_or_gzip(options.input);
  JsonlReader reader(*source, options.input);
  for (JsonRow row; (options.limit == 0 || totals.all.rows < options.limit) && reader.next(row);) {
    std::string output;
    const Verdict verdict = judge(row, output);
    totals.all.add(verdict);
    if (!options.group.empty()) totals.groups[group_of(row, options.group)].add(verdict);
    if (!writer) continue;
    row.value.set("output", output).set("eval", verdict_json(verdict, suite));
    writer->write(row.value);
  }
  require_rows(reader);
  if (writer) writer->commit();
  return totals;
}

inline EvalTotals judge_sql(const EvalOptions& options, const Suite& suite, const RowOptions& names,
                            const Report& report) {
  require_sql();
  SqlJudge judge;
  const EvalTotals totals = judge_rows(options, suite, [&](const JsonRow& row, std::string& output) {
    SqlRow judged = sql_row(row, options.input, names);
    output = judged.output.insert(0, options.prefix);
    return judge(judged);
  });
  if (judge.processes_lost() > 0)
    report.say("queries that their process did not survive: " + std::to_string(judge.processes_lost()));
  return totals;
}

inline EvalTotals judge_text(const EvalOptions& options, const Suite& suite, const RowOptions& names,
                             const std::string& language) {
  TextJudge judge(language);
  return judge_rows(options, suite, [&](const JsonRow& row, std::string& output) {
    AnsweredRow judged = answered_row(row, options.input, names);
    output = judged.output.insert(0, options.prefix);
    return judge(judged);
  });
}

// Throws E416 and E417 for an /evaluation that does not fit, E255 for a row without `output`, and E360, E361, E405
// where what judges the language is absent.
inline ExitCode run_eval(const EvalOptions& options, Report& report) {
  const Manifest manifest = load_manifest(options.manifest);
  const Suite suite = suite_of(manifest);
  report.say(joined({"suite: ", suite.name, " (", manifest.origin("/evaluation/suite"), ")"}));
  RowOptions names;
  names.field_mapping = dataset_values(manifest).field_mapping;
  const EvalTotals totals = suite.name == "sql" ? judge_sql(options, suite, names, report)
                                                : judge_text(options, suite, names, grammar_type(manifest));

  say_table(options.input, totals.all, suite, report);
  for (const auto& [name, tally] : totals.groups)
    say_table(options.group + " " + utf8_lossy(name), tally, suite, report);
  report.result().set("suite", suite.name);
  put_tally(report.result(), totals.all, suite);
  if (!options.group.empty()) {
    Json list = Json::object();
    for (const auto& [name, tally] : totals.groups) {
      Json entry = Json::object();
      put_tally(entry, tally, suite);
      list.set(name, std::move(entry));
    }
    report.result().set("group", utf8_lossy(options.group)).set("groups", std::move(list));
  }
  if (options.write) {
    set_member(options.manifest, "quality_metrics", quality_metrics(options, totals.all, suite));
    report.say("written: " + options.manifest + " /quality_metrics");
  }
  return ok;
}

}  // namespace cli
