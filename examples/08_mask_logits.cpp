// Why: a grammar can steer any model. All that it takes are the bytes of the tokens and an array of logits; nothing of
// this library's models or tokenizers. At each step the mask leaves only tokens with which the text can still become
// a sentence, so even random logits give valid output.
#include <cstdio>
#include <expert/core/random.hpp>
#include <expert/grammar/grammar.hpp>
#include <string>
#include <vector>

using namespace expert;

int main() {
  // A vocabulary: two words, then single characters; token 0 ends a text.
  std::vector<std::string> tokens{"", "SELECT ", "price"};
  for (char c = ' '; c <= 'z'; ++c) tokens.push_back(std::string(1, c));
  const std::int32_t end = 0;
  const Vocabulary vocabulary(
      static_cast<std::int64_t>(tokens.size()), {&end, 1},
      [&](std::int32_t id) -> const std::string& { return tokens[static_cast<std::size_t>(id)]; });

  const GrammarAutomaton automaton(parse_gbnf(R"(
    root ::= "SELECT " name (", " name){0,2} " FROM t"
    name ::= [a-z]{1,8}
  )",
                                              "select.gbnf"));
  TokenMasks masks(automaton, vocabulary);  // the memo: keep it for all texts of this grammar

  const RandomStream random(7, Purpose::random_base);
  std::vector<float> logits(tokens.size());
  std::string text;
  std::uint64_t draws = 0;
  GrammarMatcher matcher(masks);
  while (!matcher.is_finished()) {
    for (float& x : logits) x = random.uniform(draws++);  // your model's
    apply_mask(logits.data(), logits.size(), matcher.mask().data());
    std::size_t best = 0;
    for (std::size_t i = 1; i < logits.size(); ++i)
      if (logits[i] > logits[best]) best = i;
    if (!matcher.accept(static_cast<std::int32_t>(best))) return 1;
    text += tokens[best];
  }
  std::printf("%s\n", text.c_str());
  return text.starts_with("SELECT ") && text.ends_with(" FROM t") ? 0 : 1;
}
