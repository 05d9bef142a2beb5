// data/sql_aliases.hpp: which tables get an alias, which statements stay as they are, and that SQLite finds the same
// rows.
#include "expert/data/sql_aliases.hpp"

#include <string>

#include "catch.hpp"
#include "sql_worker.hpp"

using namespace expert;

namespace {

constexpr const char* setup =
    "CREATE TABLE users (id INTEGER, name TEXT, age REAL, boss INTEGER); CREATE TABLE pets (owner INTEGER, kind TEXT, "
    "born TEXT); CREATE TABLE \"Odd name\" (id INTEGER);\n;\n"
    "INSERT INTO users VALUES (1, 'ann', 30, 3), (2, 'bob', 41, 1), (3, 'users.name', 30, NULL);"
    "INSERT INTO pets VALUES (1, 'cat', '2001-02-03'), (3, 'dog', '2004-05-06'), (3, 'cow', '2004-05-06');"
    "INSERT INTO \"Odd name\" VALUES (1), (7)";

struct Case {
  const char *statement, *aliased;
};
constexpr Case changed[] = {
    {"SELECT name FROM users", "SELECT name FROM users AS t1"},
    {"SELECT users.name FROM users;", "SELECT t1.name FROM users AS t1;"},
    {"select users.* from users where users.id = 1", "select t1.* from users as t1 where t1.id = 1"},
    {"SELECT Users.name FROM users WHERE USERS.id = 1", "SELECT t1.name FROM users AS t1 WHERE t1.id = 1"},
    {"SELECT users . name FROM users /* users.name */ -- users.id\nWHERE name <> 'users.name'",
     "SELECT t1 . name FROM users AS t1 /* users.name */ -- users.id\nWHERE name <> 'users.name'"},
    {"SELECT users.name, pets.kind FROM users JOIN pets ON users.id = pets.owner",
     "SELECT t1.name, t2.kind FROM users AS t1 JOIN pets AS t2 ON t1.id = t2.owner"},
    {"SELECT users.name FROM users, pets WHERE users.id = pets.owner",
     "SELECT t1.name FROM users AS t1, pets AS t2 WHERE t1.id = t2.owner"},
    {"SELECT u.name, pets.kind FROM users u LEFT JOIN pets ON u.id = pets.owner",
     "SELECT u.name, t1.kind FROM users u LEFT JOIN pets AS t1 ON u.id = t1.owner"},
    {"SELECT users.name FROM users NATURAL JOIN pets", "SELECT t1.name FROM users AS t1 NATURAL JOIN pets AS t2"},
    // A name that occurs is not taken, not even within another one.
    {"SELECT name AS t1, 'xt2' AS x FROM users", "SELECT name AS t1, 'xt2' AS x FROM users AS t3"},
    // A subquery may speak of the tables around it; its own come first.
    {"SELECT name FROM users WHERE EXISTS (SELECT 1 FROM pets WHERE pets.owner = users.id)",
     "SELECT name FROM users AS t1 WHERE EXISTS (SELECT 1 FROM pets AS t2 WHERE t2.owner = t1.id)"},
    {"SELECT users.name FROM users WHERE users.age = (SELECT max(users.age) FROM users)",
     "SELECT t1.name FROM users AS t1 WHERE t1.age = (SELECT max(t2.age) FROM users AS t2)"},
    {"SELECT users.name FROM users WHERE users.id IN (SELECT users.boss FROM users AS users)",
     "SELECT t1.name FROM users AS t1 WHERE t1.id IN (SELECT users.boss FROM users AS users)"},
    {"SELECT x.n FROM (SELECT users.name AS n FROM users) AS x",
     "SELECT x.n FROM (SELECT t1.name AS n FROM users AS t1) AS x"},
    // Names that WITH defines stay; the tables within are tables.
    {"WITH c AS (SELECT users.id FROM users) SELECT c.id FROM c",
     "WITH c AS (SELECT t1.id FROM users AS t1) SELECT c.id FROM c"},
    {"WITH users (id) AS (SELECT 5), c AS MATERIALIZED (SELECT owner FROM pets) SELECT users.id, c.owner FROM users, c",
     "WITH users (id) AS (SELECT 5), c AS MATERIALIZED (SELECT owner FROM pets AS t1) SELECT users.id, c.owner FROM "
     "users, c"},
    {"SELECT users.name FROM users UNION SELECT pets.kind FROM pets ORDER BY 1",
     "SELECT t1.name FROM users AS t1 UNION SELECT t2.kind FROM pets AS t2 ORDER BY 1"},
    // FROM is no clause in these.
    {"SELECT trim(BOTH 'a' FROM users.name) FROM users", "SELECT trim(BOTH 'a' FROM t1.name) FROM users AS t1"},
    {"SELECT users.id IS DISTINCT FROM users.boss FROM users",
     "SELECT t1.id IS DISTINCT FROM t1.boss FROM users AS t1"},
    // Quoted names are names, and columns may be called like tables elsewhere.
    {"SELECT \"users\".\"name\" FROM \"users\"", "SELECT t1.\"name\" FROM \"users\" AS t1"},
    {"SELECT \"Odd name\".id FROM \"Odd name\"", "SELECT t1.id FROM \"Odd name\" AS t1"},
    {"SELECT p.users FROM (SELECT owner AS x FROM pets) AS p",
     "SELECT p.users FROM (SELECT owner AS x FROM pets AS t1) AS p"},
};

constexpr const char* unchanged[] = {
    "",
    "nonsense",
    "SELECT 1",
    "SELECT u.name FROM users u",
    "SELECT u.name FROM users AS u",
    // A table twice in FROM.
    "SELECT a.name FROM users a JOIN users b ON a.id = b.boss",
    "SELECT users.name FROM users JOIN users AS b ON users.id = b.boss",
    "SELECT users.name FROM users, pets AS users",
    // What is no SELECT.
    "INSERT INTO pets SELECT users.id, users.name, '' FROM users",
    "UPDATE users SET name = 'x' FROM pets WHERE users.id = pets.owner",
    "DELETE FROM users WHERE users.id = 1",
    "CREATE TABLE x AS SELECT users.id FROM users",
    "CREATE VIEW x AS SELECT users.id FROM users",
    "WITH gone AS (DELETE FROM users RETURNING users.id) SELECT users.id FROM gone, users",
    "EXPLAIN SELECT users.id FROM users",
    "SELECT users.id INTO x FROM users",
    "SELECT users.id FROM users; SELECT users.id FROM users",
    "SELECT users.id FROM users FOR UPDATE OF users",
    // The whole row, a function, a schema.
    "SELECT users FROM users",
    "SELECT count(users) FROM users",
    "SELECT (users).name FROM users",
    "SELECT users.lower(name) FROM users",
    "SELECT public.users.name FROM users",
    "SELECT users.name FROM public.users",
    "SELECT name AS users FROM users ORDER BY users",
    // Who is meant is not certain.
    "SELECT users.name FROM users UNION SELECT users.name FROM users ORDER BY users.name",
    "SELECT x.id FROM users, (SELECT users.id) AS x",
    "SELECT users.name FROM \"Users\"",
    "SELECT \"USERS\".name FROM users",
    "SELECT \"users.name\" FROM users",
    "SELECT users.name FROM users, LATERAL (SELECT 1) AS x",
    "SELECT users.name FROM ONLY users",
    "SELECT g FROM generate_series(1, 2) AS g, users",
    "SELECT users.name FROM (users JOIN pets ON users.id = pets.owner)",
    "SELECT users.name FROM users TABLESAMPLE SYSTEM (10)",
    // Other dialects' spellings.
    "SELECT `users`.name FROM users",
    "SELECT [users].name FROM users",
    "SELECT users.name FROM users USE INDEX (x)",
    "SELECT /*+ FULL(users) */ users.name FROM users",
    "SELECT 'it\\'s', users.name FROM users",
    "SELECT users.name FROM users # users",
    // Not to be read to the end.
    "SELECT users.name FROM users WHERE (1 = 1",
    "SELECT users.name FROM users)",
    "SELECT users.name FROM users WHERE name = 'open",
    "SELECT users.name FROM users /* open",
};

}  // namespace

TEST_CASE("a table that FROM has once and without alias gets one, and its columns follow", "[sql_aliases]") {
  for (const auto& [statement, aliased] : changed) {
    INFO(statement);
    CHECK(with_table_aliases(statement) == aliased);
    CHECK(with_table_aliases(aliased) == aliased);
  }
}

TEST_CASE("whatever is not surely the same statement stays as it is", "[sql_aliases]") {
  for (const char* statement : unchanged) {
    INFO(statement);
    CHECK(with_table_aliases(statement) == statement);
  }
}

TEST_CASE("hostile texts cost no more than long ones", "[sql_aliases]") {
  for (const char* opening :
       {"(", "(SELECT ", "SELECT x FROM (SELECT ", "a,", "users.", "'", "/*", "\"", ") ", "AS ("}) {
    std::string text = "SELECT users.x FROM users WHERE ";
    while (text.size() < (std::size_t{1} << 14) - 32) text += opening;
    CHECK(with_table_aliases(text).size() >= text.size());
  }
  const std::string beyond = "SELECT users.x FROM users WHERE x = '" + std::string(1 << 14, 'x') + "'";
  CHECK(with_table_aliases(beyond) == beyond);
}

TEST_CASE("SQLite finds the same rows", "[sql_aliases]") {
  if (!cli::missing_sql_packages().empty()) {
    WARN("built without libpg_query and SQLite");
    return;
  }
  cli::SqlWorker worker;
  int with_rows = 0;
  for (const auto& [statement, aliased] : changed) {
    INFO(statement);
    const cli::SqlRun before = worker.run(setup, statement), after = worker.run(setup, aliased);
    CHECK(worker.syntax(cli::SqlDialect::postgres, aliased).valid);
    CHECK(before.status == after.status);
    CHECK(cli::same_result(before.result, after.result, true));
    with_rows += !before.result.rows.empty();
  }
  CHECK(with_rows >= 18);  // trim(BOTH ...) and p.users do not run there
}
