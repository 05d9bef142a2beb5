// GrammarMatcher::shortest_end: it completes the text, and nothing shorter does.
#include <algorithm>
#include <string>
#include <vector>

#include "catch.hpp"
#include "expert/grammar/gbnf.hpp"
#include "expert/grammar/matcher.hpp"

namespace shortest_ends_test {
using namespace expert;

namespace {

Vocabulary bytes_vocabulary() {
  const std::int32_t end = 256;
  return Vocabulary(257, {&end, 1}, [](std::int32_t id) {
    static std::string bytes;
    bytes.assign(1, static_cast<char>(id));
    return std::string_view(bytes);
  });
}

// The number of bytes of the shortest completion, by trying all of them; -1 above `limit`.
std::int64_t least_bytes(const GrammarMatcher& from, const std::string& alphabet, std::int64_t limit) {
  std::vector<GrammarMatcher> level{from};
  for (std::int64_t n = 0; n <= limit; ++n) {
    std::vector<GrammarMatcher> next;
    for (const GrammarMatcher& matcher : level) {
      if (matcher.is_accepting()) return n;
      for (const char c : alphabet) {
        GrammarMatcher longer = matcher;
        if (longer.accept_text({&c, 1})) next.push_back(std::move(longer));
      }
    }
    level = std::move(next);
  }
  return -1;
}

struct Case {
  const char* grammar;
  std::vector<std::string> texts;
  std::string alphabet;
};
const Case cases[] = {
    {R"gbnf(root ::= "(" root ")" | "x")gbnf", {"", "(", "((", "(x", "((x)", "x"}, "()x"},
    {R"gbnf(root ::= "a" tail
tail ::= "bcd" | "b" tail "b" | "")gbnf",
     {"", "a", "ab", "abb", "abc", "abbc"},
     "abcd"},
    {R"gbnf(root ::= expression
expression ::= term ("+" term)*
term ::= "a" | "(" expression ")" | "f(" expression ("," expression)* ")")gbnf",
     {"", "a", "a+", "(a", "f(", "f(a,", "(f((a"},
     "a+(),f"},
    {R"gbnf(root ::= item{2,3} end?
item ::= "i" | "jj"
end ::= "long" | "e")gbnf",
     {"", "i", "j", "ij", "ijj", "ijje", "iil"},
     "ijlonge"},
    {R"gbnf(root ::= one | two
one ::= "k" one "!!" | "k"
two ::= "k" two "?" | "kk")gbnf",
     {"k", "kk", "kkk", "kkkk", "kkk?"},
     "k!?"},  // several stacks are alive
};

}  // namespace

TEST_CASE("the shortest end completes the text, and nothing shorter does", "[grammar]") {
  const Vocabulary vocabulary = bytes_vocabulary();
  for (const Case& c : cases) {
    const GrammarAutomaton automaton(parse_gbnf(c.grammar, "test.gbnf"));
    TokenMasks masks(automaton, vocabulary);
    for (const std::string& text : c.texts) {
      GrammarMatcher matcher(masks);
      REQUIRE(matcher.accept_text(text));
      const std::string end = matcher.shortest_end();
      INFO(c.grammar << "\n" << text << " + " << end);
      CHECK(static_cast<std::int64_t>(end.size()) == least_bytes(matcher, c.alphabet, 7));
      REQUIRE(matcher.accept_text(end));
      CHECK(matcher.is_accepting());
      CHECK(matcher.shortest_end().empty());
    }
  }
}

TEST_CASE("a long text is completed as fast as a short one", "[grammar]") {
  const Vocabulary vocabulary = bytes_vocabulary();
  const GrammarAutomaton automaton(parse_gbnf(R"gbnf(root ::= "[" (root ("," root)*)? "]" | "1")gbnf", "test.gbnf"));
  TokenMasks masks(automaton, vocabulary);
  GrammarMatcher matcher(masks);
  const std::string deep(20'000, '[');
  REQUIRE(matcher.accept_text(deep));
  CHECK(matcher.shortest_end() == std::string(20'000, ']'));
}

TEST_CASE("the longest token that a text begins with", "[grammar]") {
  const std::vector<std::string> words{"a", "ab", "abcd", "b", "", "abcd"};
  const std::int32_t end = 4;
  const Vocabulary vocabulary(6, {&end, 1},
                              [&](std::int32_t id) { return std::string_view(words[static_cast<std::size_t>(id)]); });
  CHECK(vocabulary.longest_prefix("abc") == 1);
  CHECK(words[static_cast<std::size_t>(vocabulary.longest_prefix("abcde"))] == "abcd");
  CHECK(vocabulary.longest_prefix("ba") == 3);
  CHECK((vocabulary.longest_prefix("c") == -1 && vocabulary.longest_prefix("") == -1));
}

}  // namespace shortest_ends_test
