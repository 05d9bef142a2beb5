// A text that may be anything -> what PostgreSQL's parser and a guarded SQLite say about it. Runs in a child process:
// neither library is trusted to survive every text.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "sql_metrics.hpp"

namespace cli {

struct SqlLimits {
  std::int64_t text_bytes = std::int64_t{1} << 20;  // of a query, a script, a value
  std::int64_t steps = 10'000'000;                  // of SQLite's virtual machine
  std::int64_t milliseconds = 200;                  // of processor time: a busy machine changes no verdict
  std::int64_t result_rows = 10'000;
  std::int64_t result_bytes = std::int64_t{1} << 20;
  std::int64_t heap_bytes = std::int64_t{256} << 20;  // of SQLite
  std::int64_t parse_tree_bytes = std::int64_t{64} << 20;
};
inline constexpr SqlLimits sql_limits{};

struct SqlParse {
  bool valid = false;     // exactly one statement, and it is a SELECT (with WITH, VALUES and set operations)
  bool ordered = false;   // with ORDER BY at the top
  std::string canonical;  // as the parser prints it: one spelling for case, spaces and needless parentheses
  std::string message;    // why it is not valid
};

enum class SqlStatus : std::uint8_t {
  executed,
  setup_failed,  // the schema or the rows of the database, not the query
  not_one_query,
  refused,  // asks for what a query may not do
  error,
  over_limit,
  crashed,  // the process that ran it died or did not answer in time
};

struct SqlRun {
  SqlStatus status = SqlStatus::crashed;
  std::string message;
  ResultSet result;
};

// The Debian packages that this program was built without, for a message; empty where nothing is missing.
std::string_view missing_sql_packages();

SqlParse parse_sql(const std::string& query);

// `setup`: CREATE and INSERT statements that fill a fresh database in memory, on which the query then runs alone.
SqlRun run_sql(const std::string& setup, const std::string& query);

// The same from one text: CREATE and INSERT statements if any, then one query, which becomes the message when it ran.
SqlRun run_script(const std::string& script);

}  // namespace cli
