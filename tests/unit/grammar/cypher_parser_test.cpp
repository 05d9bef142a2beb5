// The Cypher parser: what openCypher 9 has, what it has not, where a message points, and that no text takes it long.
#include "expert/grammar/cypher_parser.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "catch.hpp"

namespace cypher_parser_test {
using namespace expert;

namespace {

std::string repeated(std::string_view part, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += part;
  return text;
}
std::string nested(std::string_view open, std::string_view inner, std::string_view close, std::size_t depth) {
  return repeated(open, depth) + std::string(inner) + repeated(close, depth);
}

}  // namespace

TEST_CASE("reading clauses, writing clauses, subqueries and patterns are Cypher") {
  for (const std::string text : {
           "MATCH (n) RETURN n",
           "match (n:Person:Actor {name: 'Keanu', born: $year})-[r:ACTED_IN|:DIRECTED*1..3 {x: 1}]->(m) return "
           "distinct n;",
           "OPTIONAL MATCH p = (a)<-[:R]-(b)--(c), (d)-->(e)<--() WHERE a.x > 1 RETURN *, p AS path ORDER BY a.x DESC, "
           "b SKIP 1 LIMIT $n",
           "MATCH p = shortestPath((a:A)-[*..15]-(b:B)) RETURN length(p)",
           "MATCH (a), (b), p = allShortestPaths((a)-[:KNOWS*]-(b)) RETURN p",
           "MATCH ((a)-[]->(b)) RETURN a",
           "MATCH (a)-[*]-(b)-[*2]-(c)-[*2..]-(d)-[*..3]-(e) RETURN 1",
           "WITH 1 AS x UNWIND [1, 2, 3] AS y WITH DISTINCT x, y WHERE x < y RETURN x + y AS sum",
           "CREATE (a:A {x: 1})-[:R]->(b) SET a.x = 2, a += {y: 3}, b = $map, b:L1:L2 REMOVE a.x, b:L1",
           "MATCH (n) DETACH DELETE n",
           "MATCH (n)-[r]-() DELETE r, n RETURN count(*)",
           "MERGE (a:A {id: 1}) ON CREATE SET a.new = true ON MATCH SET a.new = false, a.seen = a.seen + 1 RETURN a",
           "MATCH (a) CREATE (b) WITH a, b MATCH (c) RETURN c",
           "FOREACH (x IN [1, 2] | CREATE (:A {x: x}) SET x.y = 1)",
           "CALL db.labels",
           "CALL db.labels() YIELD *",
           "CALL db.labels() YIELD label AS l",
           "CALL apoc.help('x') YIELD name, text AS t WHERE t CONTAINS 'y' RETURN name",
           "MATCH (n) CALL { WITH n MATCH (n)-->(m) RETURN count(m) AS c UNION ALL RETURN 1 AS c } RETURN n, c",
           "MATCH (n) CALL { WITH n CREATE (:Log {id: n.id}) } IN TRANSACTIONS OF 100 ROWS",
           "MATCH (n) WHERE EXISTS { (n)-[:R]->(:X) } AND exists { MATCH (n)-->(m) WHERE m.x = 1 } RETURN n",
           "MATCH (n) WHERE COUNT { (n)-->() } > 2 RETURN COUNT { MATCH (n)-->(m) RETURN m } AS c, COLLECT { MATCH (m) "
           "RETURN m }",
           "MATCH (n) RETURN 1 UNION MATCH (m) RETURN 2 UNION ALL RETURN 3",
           "MATCH (n) WHERE (n)-[:R]->() AND NOT (n)<-[:S {x: 1}]-(:B) OR n:Label:Other XOR (n:A) RETURN n",
           "RETURN CASE x WHEN 1 THEN 'a' WHEN 2 THEN 'b' ELSE 'c' END, CASE WHEN x > 1 THEN CASE WHEN true THEN 1 END "
           "END",
           "RETURN [x IN range(1, 10) WHERE x % 2 = 0 | x ^ 2], [x IN xs], [x IN xs | x.a], [], [1, 'a', [2]], [x IN "
           "a, 2]",
           "MATCH (a) RETURN [(a)-->(b:B) WHERE b.x > 1 | b.name], [p = (a)-[:R*]-(b) | length(p)], [(a) - b, (c)]",
           "MATCH (n) RETURN n {.name, .*, x, y: n.z + 1, w: [(n)-->(m) | m {.a}]}, n {}, {a: 1, `b c`: {}}",
           "RETURN all(x IN xs WHERE x > 0), any(x IN xs WHERE x.y), none(x IN [1] WHERE x = 1), single(x IN xs WHERE "
           "true)",
           "RETURN reduce(sum = 0, x IN [1, 2] | sum + x), extract(x IN xs | x.a), filter(x IN xs WHERE x > 1), [x IN "
           "NOT y | x], any(x IN NOT y WHERE x)",
           "RETURN a.b.c[0], a[1..2], a[..2], a[1..], a[..], {x: 1}.x, [1, 2][0], (a.b).c, $p.x, $0, $limit",
           "RETURN n.name STARTS WITH 'A' AND n.name ENDS WITH \"z\" OR n.x IN [1] OR n.y IS NULL OR n.z IS NOT NULL = "
           "true OR n.t =~ '.*'",
           "RETURN 1 < 2 <= 3 <> 4 >= 5 > 6 = 7, -1, + 2, - -3, 2 ^ 3 ^ 4, NOT NOT true, 7 % 2 / 1 * 3",
           "RETURN 0x1F, 0o17, 017, 1.5, .5, 1e9, 1.5E-3, true, FALSE, Null",
           R"(RETURN 'a\'b\\\n\u00e9\U0001F600', "it's", '')",
           "RETURN count(DISTINCT n.x), count(*), point.distance(a, b), datetime({epochMillis: 1}), f()",
           "MATCH (`a b``c`:`Some Label` {`k y`: 1})-[`r`:`T`]->() RETURN `a b``c`.`k y` AS `out`",
           "// a comment\nMATCH (n) /* another\n */ RETURN n // at the end",
           "MATCH (n {order: 1, end: 2, match: 3}) RETURN n.limit, n.return",
           "MATCH (\xc3\xbc:Stra\xc3\x9f"
           "e)\xc2\xa0RETURN \xc3\xbc.\xe5\x90\x8d",
           "RETURN (a) <-(b), (a) --(b), (a)--(b + 1), (a)-[1, 2], ({x: 1}), (n {x: 1}), (n {.x}).x, ($p), (n:A AND "
           "true)",
           "RETURN exists((n)-[:R]->()), exists(n.x), size([(n)-->() | 1])",
       }) {
    const SyntaxVerdict verdict = parse_cypher(text);
    INFO(text << ": " << verdict.message << " at " << verdict.offset);
    CHECK(verdict.valid);
    CHECK(verdict.message.empty());
  }
}

TEST_CASE("what is not Cypher is refused where it stops to fit") {
  struct Broken {
    std::string text, message;
    std::size_t offset;
  };
  for (const Broken& broken : std::vector<Broken>{
           {"", "expected a clause, got the end of the text", 0},
           {"SELECT 1", "expected a clause, got \"SELECT\"", 0},
           {"MATCH (n)", "a query ends with RETURN or with a writing clause", 9},
           {"MATCH (n) RETURN", "expected an expression, got the end", 16},
           {"MATCH (n RETURN n", "expected \")\", got \"RETURN\"", 9},
           {"MATCH (n) RETURN n n", "expected a clause or the end of the text, got \"n\"", 19},
           {"MATCH n RETURN n", "expected a node", 6},
           {"MATCH (n)-[r->(m) RETURN n", "expected \"]\"", 12},
           {"MATCH (n)-[r](m) RETURN n", "expected \"-\"", 13},
           {"MATCH (n)->(m) RETURN n", "expected \"-\"", 10},
           {"MATCH (order) RETURN 1", "expected \")\", got \"order\"", 7},
           {"RETURN order", "expected an expression, got \"order\"", 7},
           {"WITH 1 AS end RETURN 1", "\"end\" is a reserved word: as a variable, write it in backquotes", 10},
           {"CREATE (n) MATCH (m) RETURN m", "WITH between a writing and a reading clause", 11},
           {"MATCH (n) WITH n", "a query ends with RETURN", 16},
           {"MATCH (n) RETURN n MATCH (m) RETURN m", "expected a clause or the end of the text", 19},
           {"MATCH (n) WHERE n.x == 1 RETURN n", "expected an expression, got \"=\"", 21},
           {"MATCH (n) WHERE n.x != 1 RETURN n", "no token of Cypher begins like this", 20},
           {"MATCH (n) WHERE 1 = NOT n.x RETURN n", "expected an expression, got \"NOT\"", 20},
           {"RETURN 1 IS NULL + 1", "expected a clause or the end", 17},
           {"RETURN 'abc", "this string is not closed", 7},
           {"RETURN 'a\\d'", "a string has the escapes", 9},
           {"RETURN 1 /* x", "this comment is not closed", 9},
           {"RETURN `x", "in backquotes is not closed", 7},
           {"RETURN ``", "at least one character", 7},
           {"RETURN 1a", "this number is not well formed", 7},
           {"RETURN 0x", "this number is not well formed", 7},
           {"RETURN 1e", "this number is not well formed", 7},
           {"RETURN 1e+9", "this number is not well formed", 7},
           {"RETURN [x IN NOT a, b]", "expected \"]\"", 18},
           {"RETURN $ x", "a parameter's name directly behind the $", 9},
           {"RETURN '\xff'", "not valid UTF-8", 8},
           {"RETURN '\xed\xa0\x80'", "not valid UTF-8", 8},
           {"RETURN \xe2\x80\x9cx\xe2\x80\x9d", "no token of Cypher begins like this", 7},
           {"RETURN CASE x END", "expected WHEN", 14},
           {"RETURN CASE WHEN 1 THEN 2", "expected END", 25},
           {"RETURN [(a)-->(b) WHERE a.x]", "expected \"|\"", 27},
           {"RETURN [x IN xs WHERE | x]", "expected an expression", 22},
           {"RETURN (n:A {x: 1})", "expected \"-\"", 19},
           {"RETURN (:A)", "expected \"-\"", 11},
           {"RETURN (a)-->(b + 1)", "expected a node before this", 20},
           {"MATCH (n {a: 1} $p) RETURN n", "expected \")\"", 16},
           {"MATCH (n {.a}) RETURN n", "expected a key", 10},
           {"SET n = 1, m", "expected \"=\"", 12},
           {"REMOVE n", "expected a label or a property", 8},
           {"UNWIND [1] RETURN 1", "expected AS", 11},
           {"MATCH (n) CALL db.labels RETURN 1", "the procedure's arguments in parentheses", 25},
           {"CALL db.labels RETURN 1", "the end of the text behind a procedure", 15},
           {"MATCH (n) CALL { MATCH (m) } RETURN n", "a query ends with RETURN", 27},
           {"RETURN EXISTS { }", "expected a clause", 16},
           {"MATCH (n) RETURN n;;", "expected a clause or the end of the text", 19},
       }) {
    const SyntaxVerdict verdict = parse_cypher(broken.text);
    INFO(broken.text << ": " << verdict.message);
    CHECK_FALSE(verdict.valid);
    CHECK(verdict.message.find(broken.message) != std::string::npos);
    CHECK(verdict.offset == broken.offset);
  }
}

TEST_CASE("every cut of a Cypher text gets a verdict") {
  const std::string text =
      "MATCH p = (a:A {x: 'y'})-[r:R*1..2]->(b) WHERE a.x IN [1, 2] AND any(i IN p WHERE i > 1) WITH a {.x, y: 1} AS m "
      "ORDER BY m.x LIMIT 3 CALL { WITH m RETURN [(q)--(s) | q.t] AS l } RETURN CASE WHEN m THEN l ELSE $p END";
  CHECK(parse_cypher(text).valid);
  for (std::size_t size = 0; size < text.size(); ++size) {
    const SyntaxVerdict verdict = parse_cypher(text.substr(0, size));
    CHECK(verdict.offset <= size);
    CHECK(verdict.valid == verdict.message.empty());
  }
}

TEST_CASE("nesting up to the limit is read, 100,000 levels are refused with a sentence") {
  struct Form {
    std::string before, open, inner, close;
  };
  for (const Form& form : std::vector<Form>{
           {"RETURN ", "(", "1", ")"},
           {"RETURN ", "[", "1", "]"},
           {"RETURN ", "{a: ", "1", "}"},
           {"RETURN ", "f(", "1", ")"},
           {"RETURN ", "(a {x: ", "1", "})"},
           {"RETURN ", "(a {x: ", "1", "})-->(b)"},
           {"RETURN ", "CASE WHEN ", "1", " THEN 1 END"},
           {"RETURN ", "[x IN ", "xs", " | x]"},
           {"RETURN ", "[(a)-->(b) | ", "1", "]"},
           {"RETURN ", "a[", "0", "]"},
           {"RETURN ", "n {x: ", "1", "}"},
           {"MATCH ", "(", "(a)-->(b)", ")"},
           {"", "CALL { ", "CREATE (a)", " }"},
           {"RETURN ", "EXISTS { MATCH (n) WHERE ", "true", " }"},
           {"", "FOREACH (x IN y | ", "SET x.y = 1", ")"},
       }) {
    INFO(form.open);
    const std::string end = form.before == "MATCH " ? " RETURN 1" : "";
    const SyntaxVerdict shallow = parse_cypher(form.before + nested(form.open, form.inner, form.close, 90) + end);
    INFO(shallow.message);
    CHECK(shallow.valid);
    const std::size_t depth = std::min(std::size_t{100'000}, cypher_max_bytes / form.open.size() - 10);
    const SyntaxVerdict deep = parse_cypher(form.before + repeated(form.open, depth));
    CHECK_FALSE(deep.valid);
    CHECK(deep.message.find("levels of nesting") != std::string::npos);
  }
  CHECK(parse_cypher("RETURN " + repeated("-", 100'000) + "1").valid);
  CHECK(parse_cypher("RETURN " + repeated("NOT ", 100'000) + "1").valid);
  CHECK(parse_cypher("RETURN 1" + repeated(" + 1", 100'000)).valid);
  CHECK(parse_cypher(std::string(cypher_max_bytes + 1, ' ')).message.find("longer than") != std::string::npos);
}

// A parser that goes back reads a nested text again and again, 2^depth times at worst.
TEST_CASE("no token is read twice, whatever could be an expression as well as a pattern") {
  struct Form {
    std::string open, inner, close;
  };
  for (const Form& form : std::vector<Form>{{"(a {x: ", "1", "})"},
                                            {"(a {x: ", "1", "})-[:R]->(b)"},
                                            {"(a)-[{x: ", "1", "}]-(b)"},
                                            {"[(a {x: ", "1", "})-->(b) | 1]"},
                                            {"[p = (a {x: ", "1", "})-->(b) | 1]"},
                                            {"(a)--(b {x: ", "1", "})"},
                                            {"((a.b + ", "1", "))"},
                                            {"[x IN [", "1", "] WHERE x | x]"}}) {
    const std::string text = "RETURN " + nested(form.open, form.inner, form.close, 100);
    INFO(text.substr(0, 60));
    detail::CypherParser parser(text);
    parser.parse();
    CHECK(parser.steps() == detail::CypherLexer(text).tokens().size() - 1);  // all but the end
  }
}

}  // namespace cypher_parser_test
