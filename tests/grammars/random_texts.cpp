// The worst model there is: each token is drawn evenly from those that a grammar allows, the end token alone is
// raised, from round to round, until half of the texts end by themselves within their tokens. The others are ended as
// generation ends them: by the shortest end that the grammar has, as soon as a longer one would not fit.
//
//   random_texts GRAMMAR TOKENIZER N TOKENS SEED   -> N JSON lines {text, finished, closed, tokens} of the last round;
// on standard error a line with the share of each round
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "expert/grammar/constraint.hpp"
#include "expert/grammar/grammar.hpp"
#include "expert/json/read_file.hpp"
#include "expert/text/tokenizer.hpp"
#include "expert/text/unicode.hpp"

using namespace expert;

namespace {

struct Text {
  std::string bytes = {};
  bool finished = false, closed = false;
  std::int64_t tokens = 0;
};

// Normal logits of their own at each step make every token as likely as another one.
std::int32_t any_of(std::span<const std::uint64_t> mask, std::size_t number) {
  for (std::size_t w = 0;; ++w) {
    const auto n = static_cast<std::size_t>(std::popcount(mask[w]));
    if (number >= n) {
      number -= n;
      continue;
    }
    std::uint64_t word = mask[w];
    for (; number > 0; --number) word &= word - 1;
    return static_cast<std::int32_t>(64 * w) + std::countr_zero(word);
  }
}

Text draw(TokenMasks& masks, std::int64_t tokens, double raised, std::mt19937_64& random) {
  const Vocabulary& vocabulary = masks.vocabulary();
  const std::int32_t end = vocabulary.end_tokens()[0];
  GrammarConstraint constraint(masks, 1, {}, tokens);
  Text text;
  for (; text.tokens < tokens; ++text.tokens) {
    const auto mask = constraint.mask(0);
    std::size_t others = 0;
    for (const std::uint64_t word : mask) others += static_cast<std::size_t>(std::popcount(word));
    const bool may_end = mask[static_cast<std::size_t>(end) / 64] >> (end % 64) & 1;
    others -= may_end;
    const double weight = may_end ? std::exp(raised) : 0;
    const double drawn = static_cast<double>(random() >> 11) * 0x1p-53 * (weight + static_cast<double>(others));
    if (drawn < weight) {
      text.finished = true;
      break;
    }
    const auto number = std::min(static_cast<std::size_t>(drawn - weight), others - 1);  // the end is the last token
    std::int32_t token = any_of(mask, number);
    if (!constraint.fits(0, token)) token = any_of(constraint.mask(0), 0);
    if (vocabulary.is_end(token)) break;
    if (!constraint.accept(0, token)) throw std::logic_error("a token of the mask was refused");
  }
  text.bytes = constraint.text(0);
  text.finished &= !constraint.was_closed(0);
  text.closed = !text.finished;
  if (!constraint.is_complete(0)) throw std::logic_error("a text is not complete: " + text.bytes);
  return text;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 6) return std::fputs("usage: random_texts GRAMMAR TOKENIZER N TOKENS SEED\n", stderr), 2;
  const std::int64_t n = std::stol(argv[3]), tokens = std::stol(argv[4]);
  const GrammarAutomaton automaton(parse_gbnf(read_file(argv[1], default_limits.grammar_bytes), argv[1]));
  const Tokenizer tokenizer = Tokenizer::load(argv[2]);
  const auto end = static_cast<std::int32_t>(tokenizer.size());
  const Vocabulary vocabulary(tokenizer.size() + 1, {&end, 1}, [&](std::int32_t id) {
    return tokenizer.is_special(id) ? std::string_view() : tokenizer.token_bytes(id);
  });
  TokenMasks masks(automaton, vocabulary);
  std::vector<Text> texts(static_cast<std::size_t>(n));
  for (const double raised : std::array{0.0, 5.0, 10.0, 15.0, 20.0}) {
    std::mt19937_64 random(std::stoul(argv[5]));
    std::int64_t finished = 0;
    for (Text& text : texts) {
      text = draw(masks, tokens, raised, random);
      finished += text.finished;
    }
    std::fprintf(stderr, "end token raised by %.0f: %.1f %% of %lld finish\n", raised,
                 100.0 * static_cast<double>(finished) / static_cast<double>(n), static_cast<long long>(n));
    if (2 * finished >= n) break;
  }
  for (const Text& text : texts)
    std::cout << Json::object()
                     .set("text", utf8_lossy(text.bytes))
                     .set("finished", text.finished)
                     .set("closed", text.closed)
                     .set("tokens", text.tokens)
                     .dump()
              << '\n';
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
