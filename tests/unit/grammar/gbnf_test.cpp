// GBNF as llama.cpp documents it, each mistake with its number, line and column, and bounds on time and memory.
#include "expert/grammar/gbnf.hpp"

#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/grammar/automaton.hpp"
#include "expert/grammar/matcher.hpp"
#include "grammar_reference.hpp"

namespace gbnf_test {
using namespace expert;

namespace {

// Whether the grammar derives the text, by the automaton and by the tree.
bool derives(std::string_view grammar, std::string_view text) {
  const GrammarSyntax syntax = parse_gbnf(grammar, "test.gbnf");
  const GrammarAutomaton automaton(syntax);
  const Vocabulary vocabulary(1, {}, [](std::int32_t) { return std::string(); });
  TokenMasks masks(automaton, vocabulary);
  GrammarMatcher matcher(masks);
  const bool accepted = matcher.accept_text(text) && matcher.is_accepting();
  CHECK(accepted == reference_grammar::accepts(syntax, text));
  return accepted;
}
Error compile_error(const std::string& grammar, const Limits& limits = default_limits) {
  return error_of([&] { GrammarAutomaton(parse_gbnf(grammar, "test.gbnf", limits), limits); });
}

}  // namespace

TEST_CASE("GBNF's notation", "[gbnf]") {
  CHECK(derives("root ::= \"a\" \"b\"", "ab"));
  CHECK(derives("root ::= \"\"", ""));
  CHECK(derives("root ::= | \"x\"", ""));
  CHECK(derives("root ::= \"\\x41\\u00e9\\U0001F600\\n\\t\\r\\\\\\\"\\[\\]\"", "Aé😀\n\t\r\\\"[]"));
  CHECK(derives("root ::= [a-c] [^a-c] [-x] [x-] [\\]] [\\x41-\\u0043] .", "bd--]B日"));
  CHECK_FALSE(derives("root ::= [^a-c]", "b"));
  CHECK(derives("root ::= [^\"\\\\\\x7F\\x00-\\x1F]", "é"));
  CHECK_FALSE(derives("root ::= [^\"]", "\""));
  CHECK(derives("root ::= [ぁ-ゟ]+", "ひらがな"));
  CHECK(derives("root ::= .", "\n"));
  CHECK_FALSE(derives("root ::= .", "ab"));
  CHECK(derives("root ::= # comment\n  (\n  \"a\" # one\n  | \"b\" )\n\n# end", "b"));
  CHECK(derives("root ::= \"a\" |\n \"b\"", "b"));
  CHECK(derives("root\t::=\r\n x\r\nx ::= \"y\"\r\n", "y"));
  CHECK(derives("my_Rule-1 ::= \"z\"\nroot ::= my_Rule-1", "z"));
}

TEST_CASE("GBNF's repetitions", "[gbnf]") {
  const std::vector<std::pair<std::string, std::pair<int, int>>> cases{
      {"*", {0, 9}},     {"+", {1, 9}},     {"?", {0, 1}},         {"{3}", {3, 3}}, {"{2,}", {2, 9}},
      {"{2,4}", {2, 4}}, {"{0,3}", {0, 3}}, {"{ 1 , 2 }", {1, 2}}, {"{0}", {0, 0}}, {"{0,0}", {0, 0}}};
  for (const auto& [repetition, bounds] : cases)
    for (int n = 0; n <= 9; ++n) {
      const bool inside = bounds.first <= n && n <= bounds.second;
      INFO(repetition << " " << n);
      CHECK(derives("root ::= \"ab\"" + repetition, [&] {
              std::string text;
              for (int i = 0; i < n; ++i) text += "ab";
              return text;
            }()) == inside);
    }
  CHECK(derives("root ::= (\"a\" | x){2} \"b\"?\nx ::= \"é\"*", "éé"));
  CHECK(derives("root ::= (\"a\"*)* \"b\"", "aab"));
  CHECK(derives("root ::= \"a\"?*+ \"b\"", "aab"));
}

TEST_CASE("a malformed grammar names its line and column", "[gbnf]") {
  struct Case {
    const char* grammar;
    ErrorCode code;
    const char* where;
  };
  const Case cases[] = {
      {"root = \"a\"", gbnf_syntax, "line 1, column 6"},
      {"root ::= \"a\n", gbnf_syntax, "line 1, column 10"},
      {"root ::= [a", gbnf_syntax, "line 1, column 10"},
      {"root ::= (\"a\"\n | \"b\"", gbnf_syntax, "line 2, column 7"},
      {"root ::= \"a\" )", gbnf_syntax, "line 1, column 14"},
      {"root ::= *", gbnf_syntax, "line 1, column 10"},
      {"root ::= \"é\" \"\\q\"", gbnf_syntax, "line 1, column 15"},
      {"root ::= \"\\x4\"", gbnf_syntax, "line 1, column 11"},
      {"root ::= \"\\uD800\"", gbnf_syntax, "line 1, column 11"},
      {"root ::= \"\\U00110000\"", gbnf_syntax, "line 1, column 11"},
      {"root ::= \"a\"{,3}", gbnf_syntax, "line 1, column 14"},
      {"root ::= \"a\"{3", gbnf_syntax, "line 1, column 15"},
      {"root ::= \"a\" ::= \"b\"", gbnf_syntax, "line 1, column 14"},
      {"root ::= \"\xff\"", gbnf_encoding, "line 1, column 11"},
      {"\nroot ::= \"a\" | nosuch", gbnf_undefined_rule, "line 2, column 16"},
      {"root ::= \"a\"\nx ::= \"b\"\nroot ::= x", gbnf_duplicate_rule, "line 3, column 1"},
      {"root ::= a\na ::= b \"x\" | \"y\"\nb ::= c a\nc ::= \"\"", grammar_left_recursion, "line 3, column 9"},
      {"root ::= root \"a\" | \"b\"", grammar_left_recursion, "line 1, column 10"},
      {"root ::= (\"x\"? [a]*)* root | \"b\"", grammar_left_recursion, "line 1, column 23"},
      {"root ::= \"a\" | x\nx ::= \"b\" x", grammar_unproductive, "line 2, column 1"},
      {"root ::= \"a\"{5,2}", gbnf_repetition, "line 1, column 13"},
      {"root ::= \"a\"{100001}", gbnf_repetition, "line 1, column 14"},
      {"root ::= \"a\"{99999999999999999999999}", gbnf_repetition, "line 1, column 14"},
      {"root ::= [z-a]", gbnf_class, "line 1, column 11"},
      {"root ::= \"a\" []", gbnf_class, "line 1, column 14"},
      {"root ::= <think>", gbnf_token_reference, "line 1, column 10"},
      {"root ::= !<[7]>", gbnf_token_reference, "line 1, column 10"},
  };
  for (const auto& [grammar, code, where] : cases) {
    INFO(grammar);
    const Error error = compile_error(grammar);
    CHECK(error.code() == code.number);
    CHECK(error.detail().where == where);
    CHECK(error.detail().file == "test.gbnf");
  }
  CHECK(compile_error("start ::= \"a\"").error_code() == gbnf_no_root);
  CHECK(compile_error("").error_code() == gbnf_no_root);
}

TEST_CASE("a grammar too large or too deep is refused in bounded time", "[gbnf]") {
  const std::clock_t start = std::clock();
  CHECK(compile_error("root ::= " + std::string(300, '(') + "\"a\"" + std::string(300, ')')).error_code() ==
        grammar_too_deep);
  CHECK(compile_error("root ::= \"a\"" + std::string(300'000, '*')).error_code() == grammar_too_deep);
  CHECK(compile_error("root ::= \"" + std::string(1 << 20, 'a') + "\"").error_code() == grammar_too_large);
  CHECK(compile_error("root ::= ((\"a\"{9999}){9999}){9999}").error_code() == grammar_too_large);
  CHECK(compile_error("root ::= [ab]* \"a\" [ab]{60}").error_code() == grammar_too_large);  // 2^60 states
  CHECK(compile_error("root ::= (\"a\"?){50000} \"b\"").error_code() == grammar_too_large);
  std::string rules = "root ::= \"a\"\n";
  for (int i = 0; i < 17'000; ++i) rules += "r" + std::to_string(i) + " ::= \"b\"\n";
  CHECK(compile_error(rules).error_code() == grammar_too_large);
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 1000; ++i) chain += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + " | \"x\"\n";
  CHECK(compile_error(chain + "r1000 ::= \"y\"").error_code() == grammar_rules_too_deep);
  CHECK(std::clock() - start < 60 * CLOCKS_PER_SEC);  // a run-away, not a slow machine
  CHECK(compile_error("root ::= \"abc\"", {.grammar_bytes = 9}).error_code() == grammar_too_large);
}

TEST_CASE("a rule that ends others is written out once for all of them, or called where that takes too many states",
          "[gbnf]") {
  const auto states = [](const std::string& grammar) {
    return GrammarAutomaton(parse_gbnf(grammar, "test.gbnf")).states();
  };
  // A word but for "no" and "on": the end behind each letter is one state, and there is no call.
  const std::string word =
      "word ::= [a-mp-z] end | \"n\" n | \"o\" o\n"
      "n ::= ([a-np-z] end | \"o\" [a-z] end)?\no ::= ([a-mo-z] end | \"n\" [a-z] end)?\nend ::= [a-z]{0,30} \"1\"?\n";
  const GrammarAutomaton words(parse_gbnf("root ::= word (\"-\" word)? | word \"!\" word\n" + word, "test.gbnf"));
  CHECK(words.rules() == 2);
  for (const char* text : {"n", "o", "no", "on", "nob", "onto-no", "a1", "x!n", "o-n", "o!", "no!no"})
    derives("root ::= word (\"-\" word)? | word \"!\" word\n" + word, text);
  // Written out, each letter of the first part may be the last of it: 2^40 sets of states.
  const std::string wide = "root ::= [a-z]* (\"x\" end | \"y\" end | \"z\" end)\nend ::= [a-z]{0,40}\n";
  CHECK(states(wide) < 100);
  CHECK(derives(wide, "abcxdefyzz"));
  CHECK_FALSE(derives(wide, "abc"));
}

}  // namespace gbnf_test
