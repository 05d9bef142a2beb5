// sql_syntax.hpp on libpg_query and SQLite.
#include "sql_syntax.hpp"

#ifndef EXPERT_WITH_SQL

namespace cli {
expert::SyntaxVerdict postgres_syntax(const std::string&) { return {}; }
expert::SyntaxVerdict sqlite_syntax(const std::string&) { return {}; }
}  // namespace cli

#else
#include <pg_query.h>
#include <sqlite3.h>

#include <memory>
#include <string_view>

namespace cli {
namespace {

using expert::SyntaxVerdict;

const char* count_of(int statements) { return statements == 0 ? "no statement" : "more than one statement"; }

// Bytes before the character with this number, which counts from 1.
std::size_t byte_offset(std::string_view text, int character) {
  std::size_t at = 0;
  for (int i = 1; i < character && at < text.size(); ++i) do
      ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0u) == 0x80u);
  return at;
}

// SELECT, WITH and VALUES ask for permission when they have been parsed and before any name is looked up: "no" says
// that the grammar is content. PRAGMA acts while it is prepared.
int authorize(void*, int action, const char*, const char*, const char*, const char*) {
  const bool may =
      action != SQLITE_SELECT && action != SQLITE_PRAGMA && action != SQLITE_ATTACH && action != SQLITE_DETACH;
  return may ? SQLITE_OK : SQLITE_DENY;
}

// Names are looked up when a statement has been read to its end.
bool is_about_names(std::string_view message) {
  return message.starts_with("no such table: ") || message.starts_with("no such column: ") ||
         message.starts_with("no such function: ") || message == "no tables specified";
}

struct Close {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

// No statement is ever run, so it stays empty.
sqlite3* empty_database() {
  static const std::unique_ptr<sqlite3, Close> database([] {
    sqlite3* opened = nullptr;
    sqlite3_open_v2(":memory:", &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX, nullptr);
    sqlite3_set_authorizer(opened, &authorize, nullptr);
    return opened;
  }());
  return database.get();
}

}  // namespace

SyntaxVerdict postgres_syntax(const std::string& text) {
  if (text.find('\0') != text.npos) return {false, "the text has a NUL byte", text.find('\0')};
  const PgQuerySplitResult split = pg_query_split_with_parser(text.c_str());
  SyntaxVerdict out{split.error == nullptr && split.n_stmts == 1, {}, 0};
  if (split.error != nullptr)
    out = {false, split.error->message, byte_offset(text, split.error->cursorpos)};
  else if (!out.valid)
    out.message = count_of(split.n_stmts);
  pg_query_free_split_result(split);
  return out;
}

SyntaxVerdict sqlite_syntax(const std::string& text) {
  if (text.find('\0') != text.npos) return {false, "the text has a NUL byte", text.find('\0')};
  int statements = 0;
  for (const char *at = text.data(), *end = at + text.size(); at < end;) {
    const char *start = at, *tail = end;
    sqlite3_stmt* prepared = nullptr;
    sqlite3* database = empty_database();
    const int code = sqlite3_prepare_v2(database, at, static_cast<int>(end - at), &prepared, &tail);
    const std::unique_ptr<sqlite3_stmt, Close> statement(prepared);
    const std::string_view message = code == SQLITE_OK ? "" : sqlite3_errmsg(database);
    const bool parsed = code == SQLITE_OK || code == SQLITE_AUTH || is_about_names(message);
    if (!parsed) {
      const int offset = sqlite3_error_offset(database);
      const char* place = message == "incomplete input" ? end : offset < 0 ? start : start + offset;
      return {false, std::string(message), static_cast<std::size_t>(place - text.data())};
    }
    statements += code != SQLITE_OK || statement != nullptr;
    at = tail;
  }
  if (statements != 1) return {false, count_of(statements), 0};
  return {true, {}, 0};
}

}  // namespace cli
#endif
