// Random walks: at every step the mask of a grammar is compared with what the matcher takes, token by token over the
// whole vocabulary, and one of the tokens that it allows comes next.
//
//   mask_walks GRAMMAR TOKENIZER WALKS TOKENS SEED   GRAMMAR: GBNF, or a JSON Schema where it ends in .json
//
// Prints the seed of each walk that differs; exit code 1 where there is one.
#include <bit>
#include <cstdio>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "expert/grammar/grammar.hpp"
#include "expert/json/read_file.hpp"
#include "expert/text/tokenizer.hpp"

using namespace expert;

namespace {

using Mask = std::vector<std::uint64_t>;

Mask brute_force(const GrammarMatcher& matcher, const Vocabulary& vocabulary) {
  GrammarMatcher probe = matcher;
  Mask mask(vocabulary.mask_words());
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!probe.accept(id)) continue;
    probe.rollback(1);
    mask[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << (id % 64);
  }
  return mask;
}

std::vector<std::int32_t> ids_of(const Mask& mask) {
  std::vector<std::int32_t> ids;
  for (std::size_t w = 0; w < mask.size(); ++w)
    for (std::uint64_t bits = mask[w]; bits != 0; bits &= bits - 1)
      ids.push_back(static_cast<std::int32_t>(64 * w) + std::countr_zero(bits));
  return ids;
}

// A short one as often as a longer one, though there are few of them.
std::int32_t any_of(const std::vector<std::int32_t>& ids, const Vocabulary& vocabulary, std::mt19937_64& random) {
  std::vector<std::int32_t> some;
  const bool want_short = random() % 2 == 0;
  for (const std::int32_t id : ids)
    if ((vocabulary.bytes(id).size() <= 2) == want_short) some.push_back(id);
  const std::vector<std::int32_t>& from = some.empty() ? ids : some;
  return from[random() % from.size()];
}

// False, with a line, where a mask is wrong.
bool walk(TokenMasks& masks, std::int64_t tokens, std::uint64_t seed, std::int64_t& steps) {
  const Vocabulary& vocabulary = masks.vocabulary();
  std::mt19937_64 random(seed);
  GrammarMatcher matcher(masks);
  std::string text;
  for (std::int64_t i = 0; i < tokens; ++i, ++steps) {
    const auto view = matcher.mask();
    const Mask mask(view.begin(), view.end()), expected = brute_force(matcher, vocabulary);
    if (mask != expected) {
      Mask differ(mask.size());
      for (std::size_t w = 0; w < mask.size(); ++w) differ[w] = mask[w] ^ expected[w];
      const std::vector<std::int32_t> ids = ids_of(differ);
      std::printf("seed %llu: behind %s %zu tokens differ, one is %s\n", static_cast<unsigned long long>(seed),
                  quoted(text).c_str(), ids.size(), quoted(vocabulary.bytes(ids[0])).c_str());
      return false;
    }
    const std::vector<std::int32_t> ids = ids_of(mask);
    if (ids.empty()) break;
    const std::int32_t next = any_of(ids, vocabulary, random);
    if (vocabulary.is_end(next)) break;
    matcher.accept(next);
    text += vocabulary.bytes(next);
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 6) return std::fputs("usage: mask_walks GRAMMAR TOKENIZER WALKS TOKENS SEED\n", stderr), 2;
  const std::string file = argv[1], text = read_file(file, default_limits.grammar_bytes);
  const GrammarAutomaton automaton(file.ends_with(".json") ? parse_json_schema(text, file) : parse_gbnf(text, file));
  const Tokenizer tokenizer = Tokenizer::load(argv[2]);
  const auto end = static_cast<std::int32_t>(tokenizer.size());
  const Vocabulary vocabulary(tokenizer.size() + 1, {&end, 1}, [&](std::int32_t id) {
    return tokenizer.is_special(id) ? std::string_view() : tokenizer.token_bytes(id);
  });
  const std::int64_t walks = std::stol(argv[3]), tokens = std::stol(argv[4]);
  const std::uint64_t seed = std::stoul(argv[5]);
  TokenMasks masks(automaton, vocabulary);
  std::int64_t wrong = 0, steps = 0;
  for (std::int64_t i = 0; i < walks; ++i) {
    if (i % 8 == 0) masks.clear();  // some masks come from an empty memo, some from a full one
    wrong += !walk(masks, tokens, seed + static_cast<std::uint64_t>(i), steps);
  }
  std::printf("%s: %lld walks, %lld masks, %lld walks differ\n", argv[1], static_cast<long long>(walks),
              static_cast<long long>(steps), static_cast<long long>(wrong));
  return wrong > 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
