// One answered row -> its four verdicts, or why one cannot be given; verdicts -> counts.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/data/jsonl.hpp"
#include "expert/data/shapes.hpp"
#include "sql_worker.hpp"

namespace cli {

using namespace expert;

// A row: {output, answer, context, dbs}. `dbs` is a list of scripts, each of which fills the tables of `context` with
// rows (or begins with CREATE and brings its tables along).
struct SqlRow {
  std::string output;
  std::optional<std::string> answer;
  std::vector<std::string> databases;  // scripts of CREATE and INSERT
};

// Throws E255 where `output` is missing or a field is of the wrong type.
inline SqlRow sql_row(const JsonRow& row, const std::string& file, const RowOptions& names) {
  const expert::detail::RowFields fields(row, file, names);
  SqlRow out;
  if (!fields.has("output")) fields.fail("/output", "the text that `expert-cli generate` wrote", "none");
  out.output = fields.string(*fields.find("output"), "/output");
  if (const Json* answer = fields.find("answer"); answer != nullptr && !answer->is_null())
    out.answer = fields.string(*answer, "/answer");
  const std::string context = fields.optional("context");
  const Json* dbs = fields.find("dbs");
  if (dbs == nullptr || dbs->is_null()) return out;
  if (!dbs->is_array()) fields.fail("/dbs", "a list of SQL scripts", dbs->described());
  for (std::size_t i = 0; i < dbs->items().size(); ++i) {
    std::string where = "/dbs/";
    where += std::to_string(i);
    const std::string& script = fields.string(dbs->items()[i], where);
    const std::size_t first = std::min(script.find_first_not_of(" \t\r\n"), script.size());
    const bool brings_tables = script.compare(first, 6, "CREATE") == 0 || script.compare(first, 6, "create") == 0;
    out.databases.push_back(brings_tables ? script : context + "\n;\n" + script);
  }
  return out;
}

enum class SqlMetric : std::uint8_t { parse_valid, executes, exact, execution_match };
inline constexpr std::array<std::string_view, 4> sql_metric_names{"parse_valid", "executes", "exact",
                                                                  "execution_match"};

// Why a row lacks a verdict, and which: every reason that applies is counted.
enum class SqlGap : std::uint8_t {
  without_answer,
  reference_not_parsed,
  without_databases,
  database_fails,
  reference_fails,
  reference_empty
};
inline constexpr std::array<std::string_view, 6> sql_gap_names{"without_answer",    "reference_not_parsed",
                                                               "without_databases", "database_fails",
                                                               "reference_fails",   "reference_empty"};
inline constexpr std::array<std::string_view, 6> sql_gap_sentences{
    "no `answer`: neither exact nor execution_match",
    "the parser refuses the `answer`: neither exact nor execution_match",
    "no `dbs`: neither executes nor execution_match",
    "a script of `context` or `dbs` does not run: neither executes nor execution_match",
    "the `answer` does not run: no execution_match",
    "the result of the `answer` is empty: no execution_match"};

struct SqlVerdict {
  std::array<std::optional<bool>, 4> metrics;  // by SqlMetric; empty: not measured
  std::array<bool, 6> gaps{};                  // by SqlGap
  std::string message;                         // of the first thing that went wrong with the answer

  std::optional<bool>& operator[](SqlMetric m) { return metrics[static_cast<std::size_t>(m)]; }
};

struct SqlTally {
  std::int64_t rows = 0;
  std::array<Share, 4> metrics;
  std::array<std::int64_t, 6> gaps{};  // by SqlGap

  void add(const SqlVerdict& verdict) {
    ++rows;
    for (std::size_t g = 0; g < gaps.size(); ++g) gaps[g] += verdict.gaps[g];
    for (std::size_t m = 0; m < metrics.size(); ++m)
      if (verdict.metrics[m]) metrics[m].add(*verdict.metrics[m]);
  }
};

class SqlJudge {
 public:
  SqlVerdict operator()(const SqlRow& row) {
    SqlVerdict verdict;
    const auto gap = [&](SqlGap why) { verdict.gaps[static_cast<std::size_t>(why)] = true; };
    const SqlParse output = worker_.parse(row.output);
    verdict[SqlMetric::parse_valid] = output.valid;
    if (!output.valid) verdict.message = "parser: " + output.message;

    bool comparable = row.answer.has_value(), ordered = false;
    if (row.answer) {
      const SqlParse reference = worker_.parse(*row.answer);
      comparable = reference.valid;
      ordered = reference.ordered;
      if (reference.valid) verdict[SqlMetric::exact] = output.valid && output.canonical == reference.canonical;
    }
    if (!row.answer) gap(SqlGap::without_answer);
    if (row.answer && !comparable) gap(SqlGap::reference_not_parsed);
    if (row.databases.empty()) gap(SqlGap::without_databases);
    if (row.databases.empty()) return verdict;

    bool executes = true, same = true, reference_serves = comparable;
    for (const std::string& database : row.databases) {
      const SqlRun run = worker_.run(database, row.output);
      if (run.status == SqlStatus::setup_failed) {
        gap(SqlGap::database_fails);
        if (verdict.message.empty()) verdict.message = "database: " + run.message;
        return verdict;
      }
      const bool ran = run.status == SqlStatus::executed;
      if (!ran && verdict.message.empty()) verdict.message = "SQLite: " + run.message;
      executes &= ran;
      if (!comparable) continue;
      const SqlRun reference = worker_.run(database, *row.answer);
      if (reference.status != SqlStatus::executed || reference.result.rows.empty()) {
        gap(reference.status == SqlStatus::executed ? SqlGap::reference_empty : SqlGap::reference_fails);
        reference_serves = false;
      }
      same &= ran && same_result(run.result, reference.result, ordered);
    }
    verdict[SqlMetric::executes] = executes;
    if (reference_serves) verdict[SqlMetric::execution_match] = same;
    return verdict;
  }
  std::int64_t processes_lost() const { return worker_.replaced(); }

 private:
  SqlWorker worker_;
};

}  // namespace cli
