// The trie of a vocabulary against its definition, token by token.
#include "expert/grammar/vocabulary.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "error_of.hpp"

using namespace expert;

namespace {

// Few different bytes, so that many tokens begin alike or are the same; also longer ones than the eight bytes that are
// compared first, and zero bytes, which no such comparison tells from the end of a token.
std::vector<std::string> random_tokens(std::mt19937& random) {
  static constexpr unsigned char bytes[] = {'a', 0, ' ', 'b', 0xc3, 0xa9, 0xe4, 0xb8, 0xad, 0xff, 'Z', '"'};
  const auto below = [&](std::size_t n) { return random() % n; };
  std::vector<std::string> tokens(1 + below(2000));
  for (std::string& token : tokens) {
    const std::size_t different = below(2) == 0 ? 3 : std::size(bytes);
    for (std::size_t size = below(below(40) == 0 ? 40 : 13); size > 0; --size)
      token += static_cast<char>(bytes[below(different)]);
  }
  tokens.emplace_back();  // the end
  return tokens;
}

struct Reading {  // of a text, byte by byte
  detail::Utf8 utf8 = detail::Utf8::border;
  CharacterKinds kinds = 0;

  void read(std::string_view text) {
    for (const char c : text) {
      const auto byte = static_cast<std::uint8_t>(c);
      utf8 = detail::utf8_step(utf8, byte);
      kinds |= utf8 == detail::Utf8::bad ? detail::ill_formed
               : byte < 0x80             ? detail::ascii_kinds[byte]
                                         : detail::beyond_ascii;
    }
  }
};
CharacterKinds kinds_of(std::string_view text) {
  Reading reading;
  reading.read(text);
  return reading.kinds;
}

// All nodes below node `v`, which stands for `text`.
void check(const Vocabulary& vocabulary, std::int32_t v, const std::string& text, std::int64_t& seen) {
  ++seen;
  const Vocabulary::Node& node = vocabulary.node(v);
  const auto tokens = vocabulary.tokens();
  Reading here;
  here.read(text);
  REQUIRE(node.utf8 == here.utf8);
  CharacterKinds below = 0;
  bool ranges = true;
  for (std::uint32_t t = 0; t < tokens.size(); ++t) {
    const std::string_view bytes = vocabulary.bytes(tokens[t]);
    const bool begins = bytes.starts_with(text);
    ranges &= begins == (t >= node.tokens_begin && t < node.tokens_end);
    ranges &= (bytes == text) == (t >= node.tokens_begin && t < node.own_end);
    if (!begins) continue;
    Reading rest{.utf8 = here.utf8};
    rest.read(bytes.substr(text.size()));
    below |= rest.kinds;
  }
  REQUIRE(ranges);
  REQUIRE(node.below == (here.utf8 == detail::Utf8::bad ? ~CharacterKinds{0} : below));
  for (std::int32_t w = node.first_child; w < node.first_child + node.children; ++w)
    check(vocabulary, w, text + static_cast<char>(vocabulary.node(w).byte), seen);
}

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

TEST_CASE("the trie of a vocabulary says of every token what its bytes say", "[grammar]") {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    std::mt19937 random(seed);
    const std::vector<std::string> texts = random_tokens(random);
    const auto end = static_cast<std::int32_t>(texts.size()) - 1;
    const Vocabulary vocabulary(static_cast<std::int64_t>(texts.size()), {&end, 1},
                                [&](std::int32_t id) { return texts[static_cast<std::size_t>(id)]; });
    std::vector<std::int32_t> sorted;
    for (std::int32_t id = 0; id < end; ++id) {
      const std::string& text = texts[static_cast<std::size_t>(id)];
      if (text.empty()) continue;
      sorted.push_back(id);
      REQUIRE(vocabulary.kinds()[static_cast<std::size_t>(id)] == kinds_of(text));
      REQUIRE(vocabulary.kinds_after_space()[static_cast<std::size_t>(id)] ==
              (text[0] == ' ' ? kinds_of(text.substr(1)) : ~CharacterKinds{0}));
    }
    std::stable_sort(sorted.begin(), sorted.end(), [&](std::int32_t a, std::int32_t b) {
      return texts[static_cast<std::size_t>(a)] < texts[static_cast<std::size_t>(b)];
    });
    REQUIRE(std::equal(sorted.begin(), sorted.end(), vocabulary.tokens().begin(), vocabulary.tokens().end()));
    std::int64_t seen = 0;
    check(vocabulary, Vocabulary::root, "", seen);
    REQUIRE(seen == vocabulary.nodes());
    for (std::size_t n = 0; n < 42; ++n) {
      std::vector<std::int32_t> longer(vocabulary.longer_than(n).begin(), vocabulary.longer_than(n).end()), expected;
      for (const std::int32_t id : sorted)
        if (characters(texts[static_cast<std::size_t>(id)]) > n) expected.push_back(id);
      std::sort(longer.begin(), longer.end());
      std::sort(expected.begin(), expected.end());
      REQUIRE(longer == expected);
    }
  }
}

TEST_CASE("a vocabulary is checked", "[grammar]") {
  const auto make = [](std::int64_t size, std::int32_t end, std::size_t bytes) {
    return Vocabulary(size, {&end, 1}, [&](std::int32_t) { return std::string(bytes, 'a'); });
  };
  CHECK(error_of([&] { make(0, 0, 1); }).error_code() == vocabulary_invalid);
  CHECK(error_of([&] { make(3, 3, 1); }).error_code() == vocabulary_invalid);
  CHECK(error_of([&] { make(3, -1, 1); }).error_code() == vocabulary_invalid);
  CHECK(error_of([&] { make(3, 0, Vocabulary::max_token_bytes + 1); }).error_code() == vocabulary_invalid);
  CHECK(make(3, 0, Vocabulary::max_token_bytes).tokens().size() == 2);
  constexpr std::int64_t most = Vocabulary::max_bytes / Vocabulary::max_token_bytes;
  CHECK(error_of([&] { make(most + 2, 0, Vocabulary::max_token_bytes); }).error_code() == vocabulary_invalid);
}
