// An answered row of SQL -> its verdicts, or why one cannot be given.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/verdict.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/data/shapes.hpp"
#include "sql_worker.hpp"

namespace cli {

using namespace expert;

// Beside {output, answer} a row has {context, dbs}: `dbs` is a list of scripts, each of which fills the tables of
// `context` with rows (or begins with CREATE and brings its tables along).
struct SqlRow : AnsweredRow {
  std::vector<std::string> databases;  // scripts of CREATE and INSERT
};

// Throws E255 where `output` is missing or a field is of the wrong type.
inline SqlRow sql_row(const JsonRow& row, const std::string& file, const RowOptions& names) {
  const expert::detail::RowFields fields(row, file, names);
  SqlRow out{answered_row(row, file, names), {}};
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

class SqlJudge {
 public:
  Verdict operator()(const SqlRow& row) {
    Verdict verdict;
    const auto gap = [&](Gap why) { verdict.gaps[static_cast<std::size_t>(why)] = true; };
    const SqlParse output = worker_.parse(row.output);
    verdict[Metric::parse_valid] = output.valid;
    if (!output.valid) verdict.message = "parser: " + output.message;

    bool comparable = row.answer.has_value(), ordered = false;
    if (row.answer) {
      const SqlParse reference = worker_.parse(*row.answer);
      comparable = reference.valid;
      ordered = reference.ordered;
      if (reference.valid) verdict[Metric::exact] = output.valid && output.canonical == reference.canonical;
    }
    if (!row.answer) gap(Gap::without_answer);
    if (row.answer && !comparable) gap(Gap::reference_not_parsed);
    if (row.databases.empty()) gap(Gap::without_databases);
    if (row.databases.empty()) return verdict;

    bool executes = true, same = true, reference_serves = comparable;
    for (const std::string& database : row.databases) {
      const SqlRun run = worker_.run(database, row.output);
      if (run.status == SqlStatus::setup_failed) {
        gap(Gap::database_fails);
        if (verdict.message.empty()) verdict.message = "database: " + run.message;
        return verdict;
      }
      const bool ran = run.status == SqlStatus::executed;
      if (!ran && verdict.message.empty()) verdict.message = "SQLite: " + run.message;
      executes &= ran;
      if (!comparable) continue;
      const SqlRun reference = worker_.run(database, *row.answer);
      if (reference.status != SqlStatus::executed || reference.result.rows.empty()) {
        gap(reference.status == SqlStatus::executed ? Gap::reference_empty : Gap::reference_fails);
        reference_serves = false;
      }
      same &= ran && same_result(run.result, reference.result, ordered);
    }
    verdict[Metric::executes] = executes;
    if (reference_serves) verdict[Metric::execution_match] = same;
    return verdict;
  }
  std::int64_t processes_lost() const { return worker_.replaced(); }

 private:
  SqlWorker worker_;
};

}  // namespace cli
