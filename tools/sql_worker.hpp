// Queries -> verdicts, each found in a child process with limits. One child serves many queries; one that dies or is
// silent for too long is replaced, and only the query that it was at is lost.
#pragma once
#include <cstdint>
#include <string>

#include "child_worker.hpp"
#include "expert/core/error.hpp"
#include "expert/grammar/verdict.hpp"
#include "sql_guard.hpp"

namespace cli {

inline constexpr expert::ErrorCode no_sql_libraries{405, "this program was built without what it needs to judge SQL"};
inline constexpr expert::ErrorCode query_refused{406, "a query does not run within its limits"};

// Throws E405 where the program was built without libpg_query and SQLite.
void require_sql();

enum class SqlDialect : std::uint8_t { postgres, sqlite };

class SqlWorker {
 public:
  SqlWorker();

  SqlParse parse(const std::string& query);
  expert::SyntaxVerdict syntax(SqlDialect dialect, const std::string& text);
  SqlRun run(const std::string& setup, const std::string& query);
  SqlRun run_script(const std::string& script);
  std::int64_t replaced() const { return child_.replaced(); }  // children that did not survive a query

 private:
  SqlRun ask_run(const std::string& request);

  ChildWorker child_;
};

}  // namespace cli
