// cli/routing.hpp: how well a request fits an expert, and what forbids experts to be loaded together.
#include "cli/routing.hpp"

#include "catch.hpp"

namespace routing_test {
using namespace cli;

namespace {

ExpertCard card(const char* name, std::vector<std::string> keywords = {}) {
  ExpertCard c{.file = std::string(name) + ".json", .name = name, .version = "1.0.0"};
  c.keywords = std::move(keywords);
  return c;
}
std::vector<std::string> names(const std::vector<ExpertCard>& cards, const std::vector<std::size_t>& chain) {
  std::vector<std::string> out;
  for (const std::size_t i : chain) out.push_back(cards[i].name);
  return out;
}
std::vector<int> codes(const std::vector<Error>& errors) {
  std::vector<int> out;
  for (const Error& e : errors) out.push_back(e.code());
  return out;
}

}  // namespace

TEST_CASE("keywords match whole words and phrases, whatever the case and the blanks", "[routing]") {
  const auto times = [](const char* text, const char* keyword) { return times_in(folded(text), folded(keyword)); };
  CHECK(times("An SQL query, in sql; SQL!", "sql") == 3);
  CHECK(times("mysql sqlite sql_x sql2 sql-x", "SQL") == 1);  // "-" ends a word, "_" and digits do not
  CHECK(times("write a SQL\n  query", "sql query") == 1);
  CHECK(times("sql queryx", "sql query") == 0);
  CHECK(times("in C++ and c++.", "C++") == 2);
  CHECK(times("use node.js", "Node.js") == 1);
  CHECK(times("\xc3\xa9sql", "sql") == 0);                      // beyond ASCII: a letter
  CHECK(times("\xc3\x89T\xc3\x89", "\xc3\xa9t\xc3\xa9") == 0);  // which is not folded
  CHECK(times("a a a", "a a") == 1);
  CHECK(times("anything", "") == 0);
}

TEST_CASE("the score is (matches + 3 for the hint) * (1 + priority), and 0 under a veto", "[routing]") {
  std::vector<ExpertCard> cards{card("sql", {"sql", "table"}), card("json", {"json"})};
  cards[0].priority = 0.5;
  cards[1].router_hint = "documents";
  cards[1].exclude_keywords = {"yaml"};
  auto routes = route(cards, "An SQL table as JSON", "");
  CHECK((routes[0].expert == 0 && routes[0].matches == 2 && routes[0].score == 3));
  CHECK((routes[1].expert == 1 && routes[1].score == 1 && !routes[1].hinted));
  routes = route(cards, "An SQL table as JSON", "Documents");
  CHECK((routes[0].expert == 1 && routes[0].score == 4 && routes[0].hinted));
  routes = route(cards, "An SQL table as JSON, no YAML", "documents");
  CHECK((routes[1].expert == 1 && routes[1].score == 0 && routes[1].vetoed_by == "yaml"));
  CHECK(names(cards, chain_of(cards, routes)) == std::vector<std::string>{"sql"});
  CHECK(chain_of(cards, route(cards, "a poem", "")).empty());
}

TEST_CASE("equal scores go by priority, then by name", "[routing]") {
  std::vector<ExpertCard> cards{card("b", {"x"}), card("a", {"x"}), card("c", {"x x x"})};
  auto routes = route(cards, "x", "");
  CHECK((cards[routes[0].expert].name == "a" && cards[routes[1].expert].name == "b"));
  cards[2].keywords = {"y"}, cards[2].priority = 0.9;
  routes = route(cards, "z", "");
  CHECK(cards[routes[0].expert].name == "c");
}

TEST_CASE("a chain has at most max_chain experts, in their load_order", "[routing]") {
  std::vector<ExpertCard> cards{card("best", {"x", "y", "z"}), card("second", {"x", "y"}), card("third", {"x"})};
  cards[0].load_order = 9, cards[1].load_order = 2;
  const auto routes = route(cards, "x y z", "");
  CHECK(names(cards, chain_of(cards, routes)) == std::vector<std::string>{"second", "best", "third"});
  cards[1].max_chain = 2;
  CHECK(names(cards, chain_of(cards, routes)) == std::vector<std::string>{"second", "best"});
  cards[0].max_chain = 1;
  CHECK(names(cards, chain_of(cards, routes)) == std::vector<std::string>{"best"});
}

TEST_CASE("versions have the order of semantic versions", "[routing]") {
  const char* rising[] = {"0.9.0",      "0.10.0",     "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
                          "1.0.0-beta", "1.0.0-rc.2", "1.0.0-rc.10", "1.0.0",         "1.0.1",
                          "2.0.0"};
  for (std::size_t i = 0; i < std::size(rising); ++i)
    for (std::size_t j = 0; j < std::size(rising); ++j) {
      INFO(rising[i] << " and " << rising[j]);
      CHECK(compare_versions(rising[i], rising[j]) == (i < j ? -1 : i > j ? 1 : 0));
    }
  CHECK(compare_versions("1.0.0+a", "1.0.0+b") == 0);
}

TEST_CASE("E411, E412, E413, E414, E415: everything that forbids experts to be together is found at once",
          "[routing]") {
  std::vector<ExpertCard> cards{card("sql"), card("json")};
  CHECK(chain_errors(cards).empty());
  cards[0].requirements = {"json", "json>=1.0.0", "json >= 0.9.9"};
  cards[0].load_order = 1, cards[1].load_order = 2;
  cards[0].max_chain = 2;
  cards[0].incompatible_with = {"neo4j", "sql"};
  CHECK(chain_errors(cards).empty());
  cards[0].requirements = {"json>=1.0.1", "neo4j", "json>1", "json>=one"};
  cards[1].incompatible_with = {"sql"};
  cards[1].load_order = 1;
  cards[1].max_chain = 1;
  CHECK(codes(chain_errors(cards)) == std::vector<int>{411, 411, 415, 415, 412, 413, 414});
  CHECK(codes(constraint_errors(cards)) == std::vector<int>{411, 411, 415, 415, 412, 413});
  CHECK(chain_errors(cards)[0].detail().got == "version 1.0.0");
}

}  // namespace routing_test
