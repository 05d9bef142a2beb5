// The library's engine and the recogniser of gbnf.hpp agree on the experts' grammars: on sentences drawn from them, on
// every beginning of one, and on sentences with a character changed.
#include <algorithm>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "expert/grammar/grammar.hpp"
#include "grammars/gbnf.hpp"

namespace engine_test {
using namespace expert;

namespace {

std::string bytes_of(const std::string& file) {
  std::stringstream bytes;
  bytes << std::ifstream(file).rdbuf();
  return bytes.str();
}

// Characters that the engine takes before it refuses one; size + 1 where it accepts the text.
std::size_t reach(TokenMasks& masks, const std::string& text) {
  GrammarMatcher matcher(masks);
  std::size_t characters = 0;
  for (std::size_t i = 0, next = 0; i < text.size(); i = next, ++characters) {
    next = i + 1;
    while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xc0u) == 0x80u) ++next;
    if (!matcher.accept_text(std::string_view(text).substr(i, next - i))) return characters;
  }
  return matcher.is_accepting() ? characters + 1 : characters;
}

std::string with_a_change(const std::string& text, std::mt19937_64& random) {
  std::u32string characters = gbnf::decode(text);
  const std::size_t at = random() % (characters.size() + 1);
  static constexpr std::u32string_view others = U" ()[]{}'\"`,.;:=<>-+*/aeEsS09\n\\_$\u00e9";
  const char32_t other = others[random() % others.size()];
  if (at == characters.size() || random() % 3 == 0)
    characters.insert(at, 1, other);
  else if (random() % 2 == 0)
    characters.erase(at, 1);
  else
    characters[at] = other;
  std::string out;
  for (const char32_t c : characters) gbnf::append_utf8(out, c);
  return out;
}

}  // namespace

TEST_CASE("the engine takes what the recogniser takes, to the character") {
  const std::string experts = std::string(EXPERT_SOURCE_DIR) + "/experts/expert-";
  for (const std::string name : {"sql/grammar", "sql/grammar-mysql", "sql/grammar-sqlite", "json/grammar",
                                 "neo4j/grammar", "typescript/grammar"}) {
    const std::string file = experts + name + ".gbnf";
    const GrammarAutomaton automaton(parse_gbnf(bytes_of(file), file));
    const std::vector<std::int32_t> end{256};
    const Vocabulary vocabulary(
        257, end, [](std::int32_t id) { return id < 256 ? std::string(1, static_cast<char>(id)) : std::string(); });
    TokenMasks masks(automaton, vocabulary);
    const gbnf::Grammar grammar = gbnf::Reader(file).take_grammar();
    const gbnf::Recogniser recogniser(grammar);
    gbnf::Drawer drawer(grammar, 1);
    std::mt19937_64 random(1);
    int refused = 0, differ = 0;
    for (int i = 0; i < 40; ++i) {
      const std::string sentence = drawer.sentence(), changed = with_a_change(sentence, random);
      refused += reach(masks, sentence) != gbnf::decode(sentence).size() + 1;
      for (const std::string& text : {sentence, changed, sentence.substr(0, sentence.size() / 2 & ~std::size_t{1})}) {
        if (text.empty() || (static_cast<unsigned char>(text.back()) >= 0x80)) continue;  // cut inside of a character
        INFO(name << ": " << text);
        const std::size_t by_engine = reach(masks, text), by_recogniser = recogniser.reach(text);
        CHECK(by_engine == by_recogniser);
        differ += by_engine != by_recogniser;
      }
    }
    INFO(name);
    CHECK(refused == 0);
    CHECK(differ == 0);
  }
}

}  // namespace engine_test
