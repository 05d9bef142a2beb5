// Schemas are read, and grammars narrowed to them offer their names and no others.
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/grammar/gbnf.hpp"
#include "expert/grammar/name_binder.hpp"
#include "grammar_reference.hpp"

namespace name_binder_test {
using namespace expert;

namespace {

std::string bytes_of(const std::string& name) {
  std::stringstream bytes;
  bytes << std::ifstream(std::string(EXPERT_SOURCE_DIR) + "/experts/" + name).rdbuf();
  return bytes.str();
}
GrammarSyntax grammar_of(const std::string& name) { return parse_gbnf(bytes_of(name), name); }

class Acceptor {
 public:
  explicit Acceptor(const GrammarSyntax& syntax) : accepts_(syntax, syntax.root, default_limits) {}
  bool operator()(const std::string& text) { return accepts_(text); }

 private:
  detail::RuleAcceptor accepts_;
};

std::string texts_of(const std::vector<SchemaName>& names) {
  std::string out;
  for (const SchemaName& name : names) append(out, {name.text, name.quoted ? "\" " : " "});
  return out;
}

std::string sql_error(const std::string& text) {
  return error_of([&] { read_sql_schema(text, "db.sql"); }).what();
}

constexpr const char* shop = R"(-- a shop
CREATE TABLE public.customer (id INTEGER PRIMARY KEY, Full_Name VARCHAR(20) DEFAULT 'a, (b', "Home Town" TEXT);
INSERT INTO customer VALUES (1, 'x; CREATE TABLE y (z INT)', 'y');
create table if not exists `order` (number INT, customer_id INT, key TEXT, price NUMERIC(10, 2) CHECK (price > 0),
  PRIMARY KEY (number), KEY by_customer (customer_id), FOREIGN KEY (customer_id) REFERENCES customer (id)) /* end */ ;)";

constexpr const char* films =
    "(:Movie {title: STRING, `released in`: LIST<INTEGER>})\n(:Person {name: STRING, born: DATE})\n"
    "[:ACTED_IN {role: STRING}]\n(:Person)-[:ACTED_IN]->(:Movie)\n(:Person)-[:KNOWS]->(:Person)";

}  // namespace

TEST_CASE("tables and columns are read from CREATE TABLE statements", "[schema]") {
  const SqlSchema schema = read_sql_schema(shop, "db.sql");
  REQUIRE(schema.tables.size() == 2);
  CHECK(texts_of({schema.tables[0].name, schema.tables[1].name}) == "customer order\" ");
  CHECK(texts_of(schema.tables[0].columns) == "id Full_Name Home Town\" ");
  CHECK(texts_of(schema.tables[1].columns) == "number customer_id key price ");
}

TEST_CASE("a schema that cannot be read is an error with its place", "[schema]") {
  CHECK(error_of([] { read_sql_schema("SELECT 1", "db.sql"); }).error_code() == database_schema_unreadable);
  CHECK(sql_error("CREATE TABLE t (a INT,\n  b TEXT").find("line 2, column 9") != std::string::npos);
  CHECK(sql_error("CREATE TABLE t AS SELECT 1").find("columns of \"t\"") != std::string::npos);
  CHECK(sql_error("CREATE TABLE t (a TEXT DEFAULT 'x)").find("closing quote") != std::string::npos);
  CHECK(sql_error("CREATE TABLE t (a INT, 3 INT)").find("name of a column") != std::string::npos);
  CHECK(sql_error("CREATE TABLE t (" + std::string(200'000, '(')).find("EXPERT-E349") != std::string::npos);
  for (const char* text : {"", "(:A", "(:A {x})", "(:A)-[:B]", "(A)", "[:R {x: INT}]", "(:A {x: INT})"})
    CHECK(error_of([&] { read_graph_schema(text, "graph"); }).error_code() == database_schema_unreadable);
}

TEST_CASE("labels, types and properties are read from the schema of a graph", "[schema]") {
  const GraphSchema schema = read_graph_schema(films, "graph");
  CHECK(texts_of(schema.labels) == "Movie Person ");
  CHECK(texts_of(schema.relationship_types) == "ACTED_IN KNOWS ");
  CHECK(texts_of(schema.properties) == "title released in\" name born role ");
}

TEST_CASE("a narrowed SQL grammar has the names of the schema and no others", "[schema]") {
  NameBinder binder(grammar_of("expert-sql/grammar.gbnf"));
  CHECK(binder.is_sql());
  Acceptor narrow(binder.bind(shop, "db.sql"));
  for (const char* text :
       {"SELECT full_name FROM Customer",
        "SELECT T1.Full_Name, \"Home Town\" FROM customer AS T1 JOIN \"order\" AS T2 ON T1.id = T2.customer_id",
        "SELECT customer.id FROM customer",
        "SELECT COUNT(*) AS number FROM \"order\" WHERE price > 3 ORDER BY COUNT(*) DESC",
        "WITH t1 AS (SELECT id FROM customer) SELECT t1.id FROM t1", "SELECT c.* FROM customer c"}) {
    INFO(text);
    CHECK(narrow(text));
  }
  for (const char* text :
       {"SELECT name FROM customer", "SELECT id FROM clients", "SELECT customer.price FROM customer",
        "SELECT \"home town\" FROM customer", "SELECT id FROM public.clients", "SELECT T1.name FROM customer AS T1",
        "SELECT id FROM customer AS clients", "SELECT id AS total FROM customer"}) {
    INFO(text);
    CHECK_FALSE(narrow(text));
  }
}

TEST_CASE("a narrowed Cypher grammar has the names of the schema and no others", "[schema]") {
  NameBinder binder(grammar_of("expert-neo4j/grammar.gbnf"));
  CHECK_FALSE(binder.is_sql());
  Acceptor narrow(binder.bind(films, "graph"));
  for (const char* text : {"MATCH (p:Person {name: 'Tom'})-[r:ACTED_IN]->(m:Movie) RETURN p.name AS who, count(m) AS n",
                           "MATCH (p:Person) RETURN p.born.year", "MATCH (m) WHERE m.`released in` > 3 RETURN m"}) {
    INFO(text);
    CHECK(narrow(text));
  }
  for (const char* text :
       {"MATCH (p:Human) RETURN p", "MATCH (p:person) RETURN p", "MATCH (p)-[:DIRECTED]->(m) RETURN m",
        "MATCH (p:Person) RETURN p.age", "MATCH (p:Person {age: 3}) RETURN p", "MATCH (p) SET p.age = 1"}) {
    INFO(text);
    CHECK_FALSE(narrow(text));
  }
}

TEST_CASE("every sentence of a narrowed grammar is one of the grammar", "[schema]") {
  for (const std::string file : {"expert-sql/grammar.gbnf", "expert-sql/grammar-sqlite.gbnf",
                                 "expert-sql/grammar-mysql.gbnf", "expert-neo4j/grammar.gbnf"}) {
    NameBinder binder(grammar_of(file));
    const GrammarSyntax bound = binder.bind(binder.is_sql() ? shop : films, "schema");
    Acceptor wide(grammar_of(file));
    reference_grammar::Sentences sentences(bound, 1);
    for (int i = 0; i < 200; ++i) {
      const std::string text = sentences.draw(150);
      INFO(file << ": " << text);
      CHECK(wide(text));
    }
  }
}

TEST_CASE("a grammar without the rules, and a name without a spelling, are errors", "[schema]") {
  CHECK(error_of([] { NameBinder binder(parse_gbnf("root ::= \"x\"", "g")); }).error_code() == grammar_not_bindable);
  NameBinder binder(grammar_of("expert-neo4j/grammar.gbnf"));
  CHECK(error_of([&] { binder.bind("(:`a``b` {x: INT})-[:R]->(:C)", "graph"); }).error_code() ==
        schema_name_impossible);
}

}  // namespace name_binder_test
