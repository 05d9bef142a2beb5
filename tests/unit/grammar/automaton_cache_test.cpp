// Grammars compiled once for all runs: what comes from the cache is what was compiled, whatever became of the file.
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "changed_words.hpp"
#include "error_of.hpp"
#include "expert/grammar/automaton_cache.hpp"
#include "expert/grammar/grammar.hpp"
#include "expert/json/read_file.hpp"
#include "temp_dir.hpp"

namespace automaton_cache_test {
using namespace expert;

namespace {

std::string image_of(const GrammarAutomaton& automaton) {
  ImageWriter image;
  automaton.save(image);
  return {reinterpret_cast<const char*>(image.bytes().data()), image.bytes().size()};
}

const std::vector<std::string> small_grammars = {
    R"gbnf(root ::= "if"? [a-zA-Z_]* | "'" [^'\n]{2,9} "'")gbnf",
    R"gbnf(root ::= "(" root ")" root | "")gbnf",
    "root ::= s\ns ::= \"a\" | \"a\" s | \"aa\" s s | \"a\" s s s",
    "root ::= x*\nx ::= \"(\" x? \")\" | \"é\" | [^\\x00-\\x7f]",
    R"gbnf(root ::= "[" (root ("," root)*)? "]" | "1")gbnf",
};
const std::string experts = std::string(EXPERT_SOURCE_DIR) + "/experts/expert-";
const std::vector<std::string> large_grammars = {
    experts + "sql/grammar.gbnf",  experts + "sql/grammar-mysql.gbnf", experts + "sql/grammar-sqlite.gbnf",
    experts + "json/grammar.gbnf", experts + "neo4j/grammar.gbnf",     experts + "typescript/grammar.gbnf"};

std::vector<std::string> all_grammars() {
  std::vector<std::string> texts = small_grammars;
  for (const std::string& file : large_grammars) texts.push_back(read_file(file, default_limits.grammar_bytes));
  return texts;
}

// What a matcher finds along random texts, a byte at a time.
std::uint64_t read_at_random(const GrammarAutomaton& automaton, std::uint32_t seed) {
  std::mt19937 random(seed);
  const std::int32_t end = 8;
  const std::string_view tokens = "a(')1[,]";
  const Vocabulary vocabulary(9, {&end, 1}, [&](std::int32_t id) {
    return id < end ? tokens.substr(static_cast<std::size_t>(id), 1) : std::string_view();
  });
  TokenMasks masks(automaton, vocabulary);
  std::uint64_t seen = 0;
  for (int text = 0; text < 4; ++text) {
    GrammarMatcher matcher(masks);
    for (int i = 0; i < 12; ++i) {
      const std::uint64_t allowed = matcher.mask()[0];
      seen = seen * 31 + allowed;
      const auto token = static_cast<std::int32_t>(random() % 8);
      if (!matcher.accept(token)) break;
    }
  }
  return seen;
}

}  // namespace

TEST_CASE("a grammar from the cache is the one that was compiled", "[grammar][cache]") {
  const TempDir temp;
  const std::string cache = temp / "deep/cache";
  std::size_t files = 0;
  for (const std::string& text : all_grammars()) {
    const GrammarAutomaton compiled(parse_gbnf(text, "g"));
    const CachedAutomaton first = cached_automaton(text, "g", cache);
    CHECK(first.note == "grammar g: compiled and kept in " + cache);
    const CachedAutomaton second = cached_automaton(text, "g", cache);
    CHECK(second.note.empty());
    CHECK(image_of(first.automaton) == image_of(compiled));
    CHECK(image_of(second.automaton) == image_of(compiled));
    CHECK(second.automaton.is_deterministic() == compiled.is_deterministic());
    for (std::uint32_t seed = 0; seed < 4; ++seed)
      CHECK(read_at_random(second.automaton, seed) == read_at_random(compiled, seed));
    CHECK(cached_files(cache).size() == ++files);
  }
  CHECK(cached_automaton(small_grammars[0], "g", "").note.empty());
  CHECK(error_of([&] { cached_automaton("root ::= x", "g", cache); }).code() ==
        error_of([] { parse_gbnf("root ::= x", "g"); }).code());
}

TEST_CASE("a damaged grammar is said, and compiled again", "[grammar][cache]") {
  const TempDir temp;
  const std::string cache = temp / "cache", text = small_grammars[1];
  cached_automaton(text, "g", cache);
  const std::string path = cached_files(cache).front();
  for (const std::size_t at : std::initializer_list<std::size_t>{0, 20, 50, 60, 64, 400}) {
    std::string bytes = read_file(path, 1 << 24);
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    write_file(path, bytes);
    const CachedAutomaton again = cached_automaton(text, "g", cache);
    CHECK(again.note.find("grammar g: compiled again, because EXPERT-E204") == 0);
    CHECK(image_of(again.automaton) == image_of(GrammarAutomaton(parse_gbnf(text, "g"))));
    CHECK(cached_automaton(text, "g", cache).note.empty());
  }
  write_file(temp / "file", "x");
  CHECK(cached_automaton(text, "g", temp / "file/cache").note.find("compiled, not kept, EXPERT-E203") !=
        std::string::npos);
}

// The checksum is no guard here: whatever the words of an image are, it is refused or reads every text to an end.
TEST_CASE("a compiled grammar of any content is refused or harmless", "[grammar][cache]") {
  std::mt19937_64 random(7);
  std::int64_t refused = 0, taken = 0;
  for (const std::string& text : small_grammars) {
    const std::string image = image_of(GrammarAutomaton(parse_gbnf(text, "g")));
    for (std::uint32_t i = 0; i < 2000; ++i) {
      const std::vector<std::uint64_t> words = changed_words(image, random, 12);
      const auto automaton = GrammarAutomaton::load(ImageReader(std::as_bytes(std::span(words))));
      (automaton ? taken : refused) += 1;
      if (automaton) read_at_random(*automaton, i);
    }
  }
  CHECK(refused > 2000);
  CHECK(taken > 200);
}

}  // namespace automaton_cache_test
