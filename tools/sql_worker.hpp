// Queries -> verdicts, each found in a child process with limits. One child serves many queries; one that dies or is
// silent for too long is replaced, and only the query that it was at is lost.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "expert/core/error.hpp"
#include "expert/grammar/verdict.hpp"
#include "sql_guard.hpp"

namespace cli {

inline constexpr expert::ErrorCode no_sql_process{404, "the process that runs queries cannot be started"};
inline constexpr expert::ErrorCode no_sql_libraries{405, "this program was built without what it needs to judge SQL"};
inline constexpr expert::ErrorCode query_refused{406, "a query does not run within its limits"};

// Throws E405 where the program was built without libpg_query and SQLite.
void require_sql();

enum class SqlDialect : std::uint8_t { postgres, sqlite };

class SqlWorker {
 public:
  SqlWorker() = default;
  SqlWorker(const SqlWorker&) = delete;
  SqlWorker& operator=(const SqlWorker&) = delete;
  ~SqlWorker() { stop(); }

  SqlParse parse(const std::string& query);
  expert::SyntaxVerdict syntax(SqlDialect dialect, const std::string& text);
  SqlRun run(const std::string& setup, const std::string& query);
  SqlRun run_script(const std::string& script);
  std::int64_t replaced() const { return replaced_; }  // children that did not survive a query

 private:
  std::optional<std::string> ask(const std::string& request);  // empty: the child died or was too slow
  SqlRun ask_run(const std::string& request);
  void start();
  void stop();

  pid_t child_ = -1;
  int socket_ = -1;
  std::int64_t replaced_ = 0;
  std::string why_;
};

}  // namespace cli
