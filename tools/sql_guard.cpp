// sql_guard.hpp on libpg_query and SQLite; without them it says what is missing.
#include "sql_guard.hpp"

#ifndef EXPERT_WITH_SQL

namespace cli {
std::string_view missing_sql_packages() { return "libpg-query-dev libsqlite3-dev"; }
SqlParse parse_sql(const std::string&) { return {}; }
SqlRun run_sql(const std::string&, const std::string&) { return {}; }
SqlRun run_script(const std::string&) { return {}; }
}  // namespace cli

#else
#include <pg_query.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "expert/json/json.hpp"

namespace cli {
namespace {

constexpr std::string_view nul_byte = "the text has a NUL byte", too_long = "the text is longer than 1 MiB";

// What an answer may call: SQLite's functions of the same input, that cost no more than their input. No randomblob,
// zeroblob, printf, load_extension, nothing that reads the clock's noise or the file system.
constexpr std::array allowed_functions{
    "abs",          "avg",      "ceil",    "ceiling",    "char",      "coalesce",    "count",     "cume_dist",
    "date",         "datetime", "degrees", "dense_rank", "exp",       "first_value", "floor",     "glob",
    "group_concat", "hex",      "ifnull",  "iif",        "instr",     "julianday",   "lag",       "last_value",
    "lead",         "length",   "like",    "ln",         "log",       "log10",       "log2",      "lower",
    "ltrim",        "max",      "min",     "mod",        "nth_value", "ntile",       "nullif",    "percent_rank",
    "pi",           "pow",      "power",   "quote",      "radians",   "rank",        "replace",   "round",
    "row_number",   "rtrim",    "sign",    "sqrt",       "strftime",  "substr",      "substring", "sum",
    "time",         "total",    "trim",    "trunc",      "typeof",    "unicode",     "unixepoch", "upper"};

bool starts_with(const char* text, std::string_view prefix) {
  const std::string_view name = text == nullptr ? std::string_view() : text;
  if (name.size() < prefix.size()) return false;
  return std::equal(prefix.begin(), prefix.end(), name.begin(),
                    [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
}

// A fresh database in memory that can do little, and ever less.
class Database {
 public:
  Database() {
    sqlite3_hard_heap_limit64(sql_limits.heap_bytes);
    sqlite3* opened = nullptr;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX;
    const int code = sqlite3_open_v2(":memory:", &opened, flags, nullptr);
    db_.reset(opened);
    if (code != SQLITE_OK) throw std::bad_alloc();  // nothing else can be wrong; the process ends, as after a crash
    for (const auto& [option, value] : {std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1},
                                        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                                        {SQLITE_DBCONFIG_DQS_DML, 0},
                                        {SQLITE_DBCONFIG_DQS_DDL, 0},
                                        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
                                        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}})
      sqlite3_db_config(opened, option, value, nullptr);
    const int length = static_cast<int>(sql_limits.text_bytes);
    for (const auto& [category, value] : {std::pair{SQLITE_LIMIT_LENGTH, length},
                                          {SQLITE_LIMIT_SQL_LENGTH, length},
                                          {SQLITE_LIMIT_ATTACHED, 0},
                                          {SQLITE_LIMIT_WORKER_THREADS, 0},
                                          {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
                                          {SQLITE_LIMIT_TRIGGER_DEPTH, 1}})
      sqlite3_limit(opened, category, value);
    sqlite3_exec(opened, "PRAGMA temp_store = MEMORY", nullptr, nullptr, nullptr);  // a sorter writes no file
    sqlite3_set_authorizer(opened, &Database::authorize, this);
    sqlite3_progress_handler(opened, steps_between_checks, &Database::over_budget, this);
  }

  // Runs the statements of a script up to its first query, which is left in `rest`. Returns what went wrong, or an
  // empty text; from then on only queries are permitted.
  std::string setup(std::string_view script, std::string_view& rest) {
    begin();
    const char *at = script.data(), *end = at + script.size();
    while (at < end) {
      const char* start = at;
      Statement statement;
      if (prepare(at, end, statement) != SQLITE_OK) return message();
      if (statement == nullptr) continue;
      if (sqlite3_column_count(statement.get()) > 0) {
        at = start;
        break;
      }
      int code = SQLITE_ROW;
      while (code == SQLITE_ROW) code = sqlite3_step(statement.get());
      if (code != SQLITE_DONE) return message();
    }
    rest = std::string_view(at, static_cast<std::size_t>(end - at));
    return list_tables();
  }

  // After setup(): one query.
  SqlRun query(std::string_view text) {
    begin();
    refused_.clear();
    const char *at = text.data(), *end = at + text.size();
    Statement only;
    while (at < end) {
      Statement statement;
      const int code = prepare(at, end, statement);
      if (code != SQLITE_OK) return failure(code);
      if (statement == nullptr) continue;
      if (only != nullptr) return {SqlStatus::not_one_query, "several statements", {}};
      only = std::move(statement);
    }
    if (only == nullptr) return {SqlStatus::not_one_query, "no statement", {}};
    if (sqlite3_stmt_isexplain(only.get()) != 0 || sqlite3_stmt_readonly(only.get()) == 0)
      return {SqlStatus::refused, "not a query", {}};
    if (sqlite3_column_count(only.get()) == 0) return {SqlStatus::refused, "not a query", {}};
    if (sqlite3_bind_parameter_count(only.get()) > 0) return {SqlStatus::error, "the query has parameters", {}};
    return collect(only.get());
  }

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Close>;
  enum class Phase { setup, query };
  static constexpr int steps_between_checks = 1000;

  std::string list_tables() {
    constexpr std::string_view all = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')";
    const char* at = all.data();
    Statement names;
    if (prepare(at, all.data() + all.size(), names) != SQLITE_OK) return message();
    while (sqlite3_step(names.get()) == SQLITE_ROW)
      tables_.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(names.get(), 0)));
    phase_ = Phase::query;
    return {};
  }

  void begin() {
    steps_ = 0;
    started_ = milliseconds();
  }
  static std::int64_t milliseconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
  }
  static int over_budget(void* self) {
    auto& database = *static_cast<Database*>(self);
    database.steps_ += steps_between_checks;
    return database.steps_ > sql_limits.steps || milliseconds() - database.started_ > sql_limits.milliseconds;
  }

  static int authorize(void* self, int action, const char* first, const char* second, const char*, const char*) {
    auto& database = *static_cast<Database*>(self);
    if (database.permits(action, first, second)) return SQLITE_OK;
    if (database.refused_.empty()) {
      database.refused_ = "not allowed in a query";
      if (action == SQLITE_FUNCTION) database.refused_ = "function " + std::string(second ? second : "");
      if (action == SQLITE_READ) database.refused_ = "table " + std::string(first ? first : "");
      if (action == SQLITE_ATTACH) database.refused_ = "ATTACH";
      if (action == SQLITE_PRAGMA) database.refused_ = "PRAGMA";
    }
    return SQLITE_DENY;
  }
  bool permits(int action, const char* first, const char* second) const {
    const bool in_setup = phase_ == Phase::setup;
    switch (action) {
      case SQLITE_SELECT:
      case SQLITE_RECURSIVE:
        return true;
      case SQLITE_FUNCTION:
        return second != nullptr && std::any_of(allowed_functions.begin(), allowed_functions.end(),
                                                [&](const char* f) { return sqlite3_stricmp(f, second) == 0; });
      case SQLITE_READ:
        // Only the row's own tables, not the catalogue or table-valued functions. A name in FROM of which no column is
        // read (count(*), also of a WITH) comes with an empty column.
        if (in_setup) return true;
        if (second == nullptr || *second == '\0') return !starts_with(first, "sqlite_");
        return first != nullptr && std::find(tables_.begin(), tables_.end(), first) != tables_.end();
      case SQLITE_CREATE_TABLE:
      case SQLITE_CREATE_INDEX:
      case SQLITE_CREATE_VIEW:
      case SQLITE_INSERT:
      case SQLITE_REINDEX:
      case SQLITE_TRANSACTION:
        return in_setup;
      case SQLITE_UPDATE:  // of the catalogue, by CREATE TABLE
        return in_setup && starts_with(first, "sqlite_");
      default:
        return false;
    }
  }
  // The next statement of [at, end), or null for blanks and comments; `at` moves behind it.
  int prepare(const char*& at, const char* end, Statement& statement) {
    sqlite3_stmt* prepared = nullptr;
    const char* tail = end;
    const int code = sqlite3_prepare_v2(db_.get(), at, static_cast<int>(end - at), &prepared, &tail);
    statement.reset(prepared);
    at = tail;
    return code;
  }

  SqlRun collect(sqlite3_stmt* statement) {
    SqlRun run{SqlStatus::executed, {}, {}};
    std::int64_t bytes = 0;
    const int columns = sqlite3_column_count(statement);
    for (;;) {
      const int code = sqlite3_step(statement);
      if (code == SQLITE_DONE) return run;
      if (code != SQLITE_ROW) return failure(code);
      ResultRow row;
      for (int c = 0; c < columns; ++c) {
        row.push_back(cell(statement, c));
        bytes += 16 + sqlite3_column_bytes(statement, c);
      }
      run.result.rows.push_back(std::move(row));
      if (std::ssize(run.result.rows) > sql_limits.result_rows || bytes > sql_limits.result_bytes)
        return {SqlStatus::over_limit, "the result is larger than 10,000 rows or 1 MiB", {}};
    }
  }
  static Cell cell(sqlite3_stmt* statement, int c) {
    const auto bytes = [&](const void* data) {
      const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, c));
      return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
    };
    switch (sqlite3_column_type(statement, c)) {
      case SQLITE_INTEGER:
        return std::int64_t{sqlite3_column_int64(statement, c)};
      case SQLITE_FLOAT:
        return sqlite3_column_double(statement, c);
      case SQLITE_TEXT:
        return bytes(sqlite3_column_text(statement, c));
      case SQLITE_BLOB:
        return Blob{bytes(sqlite3_column_blob(statement, c))};
      default:
        return std::monostate{};
    }
  }

  std::string message() const { return refused_.empty() ? sqlite3_errmsg(db_.get()) : "refused: " + refused_; }
  SqlRun failure(int code) const {
    if (!refused_.empty()) return {SqlStatus::refused, refused_, {}};
    switch (code & 0xff) {
      case SQLITE_INTERRUPT:
        return {SqlStatus::over_limit, "more than 10^7 steps or 200 ms", {}};
      case SQLITE_NOMEM:
      case SQLITE_TOOBIG:
        return {SqlStatus::over_limit, sqlite3_errmsg(db_.get()), {}};
      default:
        return {SqlStatus::error, sqlite3_errmsg(db_.get()), {}};
    }
  }

  std::unique_ptr<sqlite3, Close> db_;
  Phase phase_ = Phase::setup;
  std::vector<std::string> tables_;
  std::string refused_;  // what the authorizer denied first
  std::int64_t steps_ = 0, started_ = 0;
};

std::string_view unreadable(const std::string& text) {
  if (text.find('\0') != text.npos) return nul_byte;
  return std::ssize(text) > sql_limits.text_bytes ? too_long : std::string_view();
}

}  // namespace

std::string_view missing_sql_packages() { return {}; }

SqlParse parse_sql(const std::string& query) {
  SqlParse out;
  out.message = unreadable(query);
  if (!out.message.empty()) return out;
  PgQueryParseResult tree = pg_query_parse(query.c_str());
  std::string json;
  if (tree.error != nullptr) {
    out.message = tree.error->message;
  } else if (tree.parse_tree != nullptr) {
    json = tree.parse_tree;
  }
  pg_query_free_parse_result(tree);
  if (json.empty()) return out;
  try {
    const expert::Json parsed =
        expert::parse_json(json, "parse tree", sql_limits.parse_tree_bytes, expert::Limits{.json_depth = 4096});
    const expert::Json* statements = parsed.find("stmts");
    const std::size_t count = statements == nullptr ? 0 : statements->items().size();
    if (count != 1) {
      out.message = count == 0 ? "no statement" : "several statements";
      return out;
    }
    const expert::Json* select = statements->items()[0].at_pointer("/stmt/SelectStmt");
    if (select == nullptr) {
      out.message = "not a SELECT";
      return out;
    }
    out.ordered = select->find("sortClause") != nullptr;
  } catch (const expert::Error& e) {  // a tree too large or too deep to be an answer
    out.message = e.what();
    return out;
  }
  out.valid = true;
  PgQueryProtobufParseResult protobuf = pg_query_parse_protobuf(query.c_str());
  PgQueryDeparseResult text = pg_query_deparse_protobuf(protobuf.parse_tree);
  out.canonical = text.query != nullptr ? text.query : query;
  pg_query_free_deparse_result(text);
  pg_query_free_protobuf_parse_result(protobuf);
  return out;
}

SqlRun run_sql(const std::string& setup, const std::string& query) {
  for (const auto& [text, status] : {std::pair{&setup, SqlStatus::setup_failed}, {&query, SqlStatus::not_one_query}})
    if (const std::string_view why = unreadable(*text); !why.empty()) return {status, std::string(why), {}};
  Database database;
  std::string_view rest;
  std::string complaint = database.setup(setup, rest);
  if (complaint.empty() && !rest.empty()) complaint = "a query among the statements that fill the database";
  if (!complaint.empty()) return {SqlStatus::setup_failed, complaint, {}};
  return database.query(query);
}

SqlRun run_script(const std::string& script) {
  if (const std::string_view why = unreadable(script); !why.empty())
    return {SqlStatus::not_one_query, std::string(why), {}};
  Database database;
  std::string_view rest;
  const std::string complaint = database.setup(script, rest);
  if (!complaint.empty()) return {SqlStatus::setup_failed, complaint, {}};
  SqlRun run = database.query(rest);
  if (run.status == SqlStatus::executed) run.message = rest;
  return run;
}

}  // namespace cli
#endif
