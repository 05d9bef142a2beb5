// What fits a schema: documents by JSON Schema, statements by CREATE TABLE; and the languages without either.
#include "schema_judge.hpp"

#include "catch.hpp"
#include "error_of.hpp"
#include "sql_guard.hpp"

using cli::SchemaJudge;

namespace {

// Nothing where what judges the language was not built in.
std::unique_ptr<SchemaJudge> judge_of(const char* language) {
  try {
    return std::make_unique<SchemaJudge>(language, "m.json");
  } catch (const expert::Error& e) {
    CHECK((e.code() == cli::no_json_schema.number || e.code() == 405));
    WARN(e.what());
    return nullptr;
  }
}

}  // namespace

TEST_CASE("a document fits its JSON Schema, or not", "[schema_judge]") {
  const auto judge = judge_of("json");
  if (!judge) return;
  const std::string schema =
      R"({"type": "object", "required": ["b"], "properties": {"a": {"type": "integer"}, "b": {"pattern": "^x+$"}}})";
  for (const char* answer : {R"({"a": 1, "b": "x"})", R"({"b": "xx", "a": 2})", R"({"c": null, "b": "x"})"}) {
    INFO(answer);
    CHECK((*judge)(schema, answer));
  }
  for (const char* answer :
       {R"({"a": 1})", R"({"a": 1.5, "b": "x"})", R"({"b": "y"})", "[]", "", "{", R"({"b": "x", "b": "x"})"}) {
    INFO(answer);
    CHECK_FALSE((*judge)(schema, answer));
  }
  CHECK((*judge)("{}", "[1]"));
  for (const char* unreadable : {"{", "[]", "no schema", R"({"type": "objekt"})", R"({"$ref": "other.json"})",
                                 R"({"$ref": "#"})", R"({"pattern": "("})", R"({"allOf": [{"$ref": "#"}]})"}) {
    INFO(unreadable);
    CHECK_FALSE((*judge)(unreadable, "\"x\""));
  }
}

TEST_CASE("a statement fits the tables of its schema, or not", "[schema_judge]") {
  const auto judge = judge_of("sql-postgres");
  if (!judge) return;
  const std::string schema =
      "CREATE TABLE users (id INTEGER, name VARCHAR(20)); CREATE TABLE pets (owner INTEGER, id INTEGER)";
  CHECK((*judge)(schema, "SELECT name FROM users JOIN pets ON users.id = owner"));
  CHECK(judge->unjudged() == 0);
  for (const char* answer : {"SELECT missing FROM users", "SELECT name FROM missing", "SELECT id FROM users, pets",
                             "SELECT name FROM", "DROP TABLE users", "SELECT 1; SELECT 2", ""}) {
    INFO(answer);
    CHECK_FALSE((*judge)(schema, answer));
  }
  CHECK_FALSE((*judge)("CREATE TABLE users (", "SELECT 1"));
  CHECK(judge->unjudged() == 0);
  CHECK((*judge)(schema, "SELECT name FROM users WHERE name ILIKE 'a%'"));  // SQLite has no ILIKE
  CHECK(judge->unjudged() == 1);
  SchemaJudge sqlite("sql-sqlite", "m.json");
  CHECK_FALSE(sqlite(schema, "SELECT name FROM users WHERE name ILIKE 'a%'"));
}

TEST_CASE("E259: other languages have no schemas", "[schema_judge]") {
  for (const char* language : {"typescript", "cypher", "", "sqlite"}) {
    const expert::Error e = error_of([&] { SchemaJudge(language, "m.json"); });
    CHECK(e.code() == cli::rule_without_meaning.number);
    CHECK(e.detail().where == "/training/dataset/validation/validate_schema");
  }
}
