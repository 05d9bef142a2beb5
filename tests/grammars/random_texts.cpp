// The worst model there is: each token is drawn evenly from those that a grammar allows, and only the end is raised,
// from round to round, until half of the texts end by themselves within their tokens: first the end token alone, then,
// where that is not enough (an open string is closed by few of the tokens that it allows), also the next token of the
// shortest end. The others are ended as generation ends them: by the shortest end that the grammar has, as soon as a
// longer one would not fit.
//
//   random_texts GRAMMAR TOKENIZER N TOKENS SEED   -> N JSON lines {text, finished, closed, tokens} of the last round;
// on standard error a JSON line {end, way, finished, of} for each round: how far the logits of the end token and of the
// next token on the shortest way to the end were raised, and how many texts ended by themselves. Exit code 1 where
// after the last round fewer than half do.
#include <algorithm>
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

// How far logits are raised.
struct Raised {
  double end, way;
};

Text draw(TokenMasks& masks, std::int64_t tokens, Raised raised, std::mt19937_64& random) {
  const Vocabulary& vocabulary = masks.vocabulary();
  const std::int32_t end = vocabulary.end_tokens()[0];
  GrammarConstraint constraint(masks, 1, {}, tokens);
  GrammarMatcher matcher(masks);  // the same text, to be asked for its shortest end
  Text text;
  for (; text.tokens < tokens; ++text.tokens) {
    const auto mask = constraint.mask(0);
    std::size_t others = 0;
    for (const std::uint64_t word : mask) others += static_cast<std::size_t>(std::popcount(word));
    const bool may_end = mask[static_cast<std::size_t>(end) / 64] >> (end % 64) & 1;
    others -= may_end;
    const double weight = may_end ? std::exp(raised.end) : 0;
    const std::int32_t way =
        raised.way > 0 && !may_end ? vocabulary.longest_prefix(matcher.shortest_end()) : std::int32_t{-1};
    const double more = way < 0 ? 0 : std::exp(raised.way) - 1;
    const double drawn = static_cast<double>(random() >> 11) * 0x1p-53 * (weight + more + static_cast<double>(others));
    if (drawn < weight) {
      text.finished = true;
      break;
    }
    const auto number =  // the end is the last token
        std::min(static_cast<std::size_t>(std::max(drawn - weight - more, 0.0)), others - 1);
    std::int32_t token = drawn < weight + more ? way : any_of(mask, number);
    while (!constraint.fits(0, token)) token = any_of(constraint.mask(0), 0);
    if (vocabulary.is_end(token)) break;
    if (!matcher.accept(token) || !constraint.accept(0, token))
      throw std::logic_error("a token of the mask was refused");
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
  constexpr Raised rounds[] = {{0, 0}, {5, 0}, {10, 0}, {15, 0}, {20, 0}, {20, 2}, {20, 4}, {20, 6}, {20, 8}, {20, 10}};
  std::int64_t finished = 0;
  for (const Raised raised : rounds) {
    std::mt19937_64 random(std::stoul(argv[5]));
    finished = 0;
    for (Text& text : texts) {
      text = draw(masks, tokens, raised, random);
      finished += text.finished;
    }
    std::cerr
        << Json::object().set("end", raised.end).set("way", raised.way).set("finished", finished).set("of", n).dump()
        << '\n';
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
  return 2 * finished >= n ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
