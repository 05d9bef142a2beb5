// The strict parsers: for each language, texts that are of it and texts that are not; and what happens without a
// parser.
#include "strict_parser.hpp"

#include <signal.h>
#include <stdlib.h>

#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "error_of.hpp"
#include "sql_guard.hpp"
#include "typescript_worker.hpp"

using cli::StrictParser;
using expert::SyntaxVerdict;

namespace {

struct Broken {
  std::string text, message;
  std::size_t offset;
};

void check(StrictParser& parse, const std::vector<std::string>& good, const std::vector<Broken>& bad) {
  for (const std::string& text : good) {
    const SyntaxVerdict verdict = parse(text);
    INFO(text << ": " << verdict.message);
    CHECK(verdict.valid);
    CHECK(verdict.message.empty());
  }
  for (const Broken& broken : bad) {
    const SyntaxVerdict verdict = parse(broken.text);
    INFO(broken.text.substr(0, 80) << ": " << verdict.message << " at " << verdict.offset);
    CHECK_FALSE(verdict.valid);
    CHECK(contains(verdict.message, broken.message));
    CHECK(verdict.offset == broken.offset);
  }
}
std::string repeated(const std::string& part, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += part;
  return text;
}

// The presets of check.sh, which installs every parser, ask that none be missing.
void leave_out(std::string_view why) {
  WARN("not tested: " << why);
  CHECK(getenv("EXPERT_ALL_PARSERS") == nullptr);
}
bool has_sql() {
  const std::string_view missing = cli::missing_sql_packages();
  if (!missing.empty()) leave_out(missing);
  return missing.empty();
}
bool has_typescript() {
  try {
    cli::TypeScriptWorker worker;
    return true;
  } catch (const expert::Error& error) {
    leave_out(error.what());
    return false;
  }
}

}  // namespace

TEST_CASE("sql-postgres is judged by PostgreSQL's grammar") {
  if (!has_sql()) return;
  StrictParser parse("sql-postgres");
  check(parse,
        {"SELECT a::int, b->>'x' FROM t LEFT JOIN LATERAL (SELECT 1) s ON true WHERE c ~* 'x' ORDER BY 1 NULLS LAST;",
         "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT * FROM r",
         "INSERT INTO t (a) VALUES (1) ON CONFLICT DO NOTHING RETURNING a", "UPDATE t SET a = INTERVAL '1 day'",
         "CREATE TABLE t (a int[], b text)"},
        {{"SELECT FROM", "syntax error at end of input", 11},
         {"SELECT a FROM t WHERE b = '\xc3\xbc' AND c = = 1", "syntax error at or near \"=\"", 39},
         {"SELECT 1; SELECT 2", "more than one statement", 0},
         {"", "no statement", 0},
         {"-- nothing", "no statement", 0},
         {std::string("SELECT 1\0", 9), "NUL", 8},
         {"SELECT '\xff'", "not valid UTF-8", 8},
         {repeated("x", (1 << 20) + 1), "longer than 1 MiB", 0}});
  CHECK_FALSE(parse("SELECT " + repeated("(", 200'000)).valid);
  CHECK(parse("SELECT 1").valid);  // whatever the text before did to the process
}

TEST_CASE("sql-sqlite is judged by SQLite, without a schema") {
  if (!has_sql()) return;
  StrictParser parse("sql-sqlite");
  check(parse,
        {"SELECT a, no_function(b) FROM no_table NATURAL LEFT JOIN u WHERE a IN (SELECT c FROM v) GROUP BY 9 HAVING d;",
         "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) INSERT INTO t SELECT * FROM r",
         "INSERT OR REPLACE INTO t (a) VALUES (1), (2)", "UPDATE t SET a = a || 'x' WHERE rowid = 1",
         "DELETE FROM t WHERE EXISTS (SELECT 1)", "VALUES (1), (2)",
         "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT NOT NULL, FOREIGN KEY (b) REFERENCES u (c))",
         "CREATE TABLE t AS SELECT * FROM u"},
        {{"SELECT a FROM t WHERE", "incomplete input", 21},
         {"SELECT a FROM t WHERE x = = 1", "near \"=\": syntax error", 26},
         {"SELECT a::int FROM t", "unrecognized token", 8},
         {"INSERT INTO t VALUES (1) extra", "near \"extra\"", 25},
         {"CREATE TABLE t (a, a)", "duplicate column name", 0},
         {"SELECT a FROM t; SELECT b FROM u", "more than one statement", 0},
         {"SELECT a FROM t; SELECT", "incomplete input", 23},
         {" ; ", "no statement", 0},
         {std::string("SELECT 1\0", 9), "NUL", 8}});
  CHECK_FALSE(parse("SELECT " + repeated("(", 200'000)).valid);
}

TEST_CASE("json is judged by the library's own reader") {
  StrictParser parse("json");
  check(parse, {"{\"a\": [1, 2.5e3, \"\\ud83d\\ude00\", null]}", " true "},
        {{"[1,", "E210", 3}, {"{\"a\":1,\"a\":2}", "E213", 11}, {"1e400", "E214", 0}, {"\"\\ud800\"", "E211", 1}});
}

TEST_CASE("cypher is judged by our own parser") {
  StrictParser parse("cypher");
  check(parse, {"MATCH (n) RETURN n"}, {{"MATCH (n", "expected \")\"", 8}});
}

TEST_CASE("typescript is judged by its compiler, whose process may die") {
  if (!has_typescript()) return;
  StrictParser parse("typescript");
  check(parse,
        {"export async function f<T>(x: T): Promise<T[]> { return [await x]; }",
         "class A<T extends object = {}> implements B { constructor(private readonly x: T) {} get y() { return "
         "`${this.x}`; } }",
         "type P = { [K in keyof T]?: T[K] extends (...a: infer A) => unknown ? A : never };",
         "undeclared.names(are, fine);", "const x = await y;"},
        {{"const x = ;", "TS1109", 10},
         {"const s = '\xc3\xbc' + ;", "TS1109", 17},
         {"function f( {", "TS1005", 13},
         {"break;", "TS1105", 0},
         {"const x;", "TS1155", 6},
         {"x = a ?? b || c;", "TS5076", 9},
         {"x = '\xff';", "not valid UTF-8", 5},
         {repeated("(", 100'000), "nests too deeply", 0},
         {repeated("x", (1 << 20) + 1), "longer than 1 MiB", 0}});

  cli::TypeScriptWorker worker(std::chrono::seconds(8));
  CHECK_FALSE(worker.version().empty());
  kill(worker.process(), SIGKILL);
  CHECK(worker.syntax("const x = 1;").valid);
  CHECK(worker.replaced() == 1);
  kill(worker.process(), SIGSTOP);  // alive and silent
  CHECK(worker.syntax("const x = 1;").valid);
  CHECK(worker.replaced() == 2);
}

TEST_CASE("E361: without node the language is refused with what to install") {
  const std::string path = getenv("PATH");
  setenv("PATH", "/nowhere", 1);
  const expert::Error error = error_of([] { StrictParser("typescript"); });
  setenv("PATH", path.c_str(), 1);
  CHECK(error.code() == 361);
  CHECK(contains(error.what(), "apt-get install node-typescript"));
}

TEST_CASE("E360: a language without a strict parser is refused with the names of those that have one") {
  for (const std::string language : {"sql-mysql", "python", ""}) {
    const expert::Error error = error_of([&] { StrictParser parse(language); });
    CHECK(error.code() == 360);
    CHECK(contains(error.what(), "sql-postgres sql-sqlite json typescript cypher"));
  }
}
