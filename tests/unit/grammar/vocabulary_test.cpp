// The trie of a vocabulary against its definition, token by token.
#include "expert/grammar/vocabulary.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "changed_words.hpp"
#include "error_of.hpp"
#include "expert/grammar/vocabulary_cache.hpp"
#include "temp_dir.hpp"

namespace vocabulary_test {
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

// Token `id` in set `k` of as many words as a mask has.
bool is_in(std::span<const std::uint64_t> sets, std::size_t k, const Vocabulary& vocabulary, std::int32_t id) {
  return sets[k * vocabulary.mask_words() + static_cast<std::size_t>(id) / 64] >> (id % 64) & 1;
}

// All nodes below node `v`, which stands for `text`.
void check(const Vocabulary& vocabulary, std::int32_t v, const std::string& text, std::int64_t& seen) {
  ++seen;
  const Vocabulary::Node& node = vocabulary.node(v);
  const auto tokens = vocabulary.tokens_below(Vocabulary::root);
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
  const bool is_not_known = v == Vocabulary::root || v == vocabulary.space();
  REQUIRE(node.below == (here.utf8 == detail::Utf8::bad || is_not_known ? ~CharacterKinds{0} : below));
  const auto own = vocabulary.own_tokens(v), all = vocabulary.tokens_below(v);
  REQUIRE((own.data() == tokens.data() + node.tokens_begin && own.size() == node.own_end - node.tokens_begin));
  REQUIRE((all.data() == own.data() && all.size() == node.tokens_end - node.tokens_begin));
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
    }
    for (std::int32_t id = 0; id <= end; ++id) {
      const std::string& text = texts[static_cast<std::size_t>(id)];
      const CharacterKinds kinds = text.empty() ? ~CharacterKinds{0} : kinds_of(text);
      const CharacterKinds behind = text.starts_with(' ') ? kinds_of(text.substr(1)) : ~CharacterKinds{0};
      for (std::size_t k = 0; k < 32; ++k) {
        REQUIRE(is_in(vocabulary.kinds(), k, vocabulary, id) == (kinds >> k & 1));
        REQUIRE(is_in(vocabulary.kinds_after_space(), k, vocabulary, id) == (behind >> k & 1));
      }
    }
    std::stable_sort(sorted.begin(), sorted.end(), [&](std::int32_t a, std::int32_t b) {
      return texts[static_cast<std::size_t>(a)] < texts[static_cast<std::size_t>(b)];
    });
    const auto all = vocabulary.tokens_below(Vocabulary::root);
    REQUIRE(std::equal(sorted.begin(), sorted.end(), all.begin(), all.end()));
    std::set<std::string> beginnings;
    for (const std::int32_t id : sorted)
      for (std::size_t n = 0; n <= texts[static_cast<std::size_t>(id)].size(); ++n)
        beginnings.insert(texts[static_cast<std::size_t>(id)].substr(0, n));
    std::int64_t seen = 0;
    check(vocabulary, Vocabulary::root, "", seen);
    REQUIRE(seen == std::ssize(beginnings));
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

namespace {

VocabularyTexts texts_of(const std::vector<std::string>& tokens) {
  const auto end = static_cast<std::int32_t>(tokens.size()) - 1;
  return VocabularyTexts(static_cast<std::int64_t>(tokens.size()), {&end, 1},
                         [&](std::int32_t id) { return tokens[static_cast<std::size_t>(id)]; });
}
CachedVocabulary cached(const std::vector<std::string>& tokens, const std::string& cache) {
  const auto end = static_cast<std::int32_t>(tokens.size()) - 1;
  std::string name;  // all of them: no two lists have the same
  for (const std::string& token : tokens) append(name, {token.size(), " ", token, " "});
  return cached_vocabulary(name, end + 1, {&end, 1}, cache, [&] { return texts_of(tokens); });
}
std::string image_of(const Vocabulary& vocabulary) {
  ImageWriter image;
  vocabulary.save(image);
  return {reinterpret_cast<const char*>(image.bytes().data()), image.bytes().size()};
}
// Everything that masks look up.
std::int64_t walk(const Vocabulary& vocabulary, std::int32_t v, std::size_t depth) {
  if (depth > Vocabulary::max_token_bytes) throw std::length_error("a trie that is deeper than its tokens");
  const Vocabulary::Node& node = vocabulary.node(v);
  std::int64_t sum = static_cast<std::int64_t>(node.utf8);
  for (const std::int32_t id : vocabulary.tokens_below(v))
    sum += static_cast<std::int64_t>(vocabulary.bytes(id).size());
  sum += std::ssize(vocabulary.own_tokens(v));
  for (std::int32_t w = node.first_child; w < node.first_child + node.children; ++w)
    sum += walk(vocabulary, w, depth + 1);
  return sum;
}
std::int64_t look_everything_up(const Vocabulary& vocabulary) {
  std::int64_t sum = walk(vocabulary, Vocabulary::root, 0) + vocabulary.longest_prefix("ab\xc3\xa9 Zab");
  if (vocabulary.space() >= 0) sum += vocabulary.node(vocabulary.space()).byte;
  for (std::size_t n = 0; n < Vocabulary::max_token_bytes + 2; ++n)
    for (const std::int32_t id : vocabulary.longer_than(n)) sum += std::ssize(vocabulary.bytes(id));
  for (const std::uint64_t word : vocabulary.kinds()) sum += std::popcount(word);
  for (const std::uint64_t word : vocabulary.kinds_after_space()) sum += std::popcount(word);
  return sum;
}

}  // namespace

// Each branch is made by whoever needs it first.
TEST_CASE("a vocabulary that threads look into at once is that of one", "[grammar]") {
  std::mt19937 random(2);
  const std::vector<std::string> tokens = random_tokens(random);
  const std::int64_t expected = look_everything_up(Vocabulary(texts_of(tokens)));
  for (int round = 0; round < 20; ++round) {
    const Vocabulary vocabulary(texts_of(tokens));
    std::array<std::int64_t, 4> sums{};
    std::vector<std::jthread> threads;
    for (std::int64_t& sum : sums) threads.emplace_back([&] { sum = look_everything_up(vocabulary); });
    threads.clear();
    for (const std::int64_t sum : sums) CHECK(sum == expected);
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
  CHECK(make(3, 0, Vocabulary::max_token_bytes).tokens_below(Vocabulary::root).size() == 2);
  constexpr std::int64_t most = Vocabulary::max_bytes / Vocabulary::max_token_bytes;
  CHECK(error_of([&] { make(most + 2, 0, Vocabulary::max_token_bytes); }).error_code() == vocabulary_invalid);
}

TEST_CASE("tables from the cache are those that are made", "[grammar][cache]") {
  const TempDir temp;
  const std::string cache = temp / "deep/cache";
  for (unsigned seed = 1; seed <= 6; ++seed) {
    std::mt19937 random(seed);
    const std::vector<std::string> tokens = random_tokens(random);
    const Vocabulary made(texts_of(tokens));
    const CachedVocabulary first = cached(tokens, cache);
    CHECK(first.note == "tables of the vocabulary: made and kept in " + cache);
    CachedVocabulary second = cached(tokens, cache);
    CHECK(second.note.empty());
    const Vocabulary moved = std::move(second.vocabulary);
    CHECK(image_of(first.vocabulary) == image_of(made));
    CHECK(image_of(moved) == image_of(made));
    CHECK(moved.space() == made.space());
    CHECK(look_everything_up(moved) == look_everything_up(made));
    std::int64_t seen = 0;
    if (seed == 1) check(moved, Vocabulary::root, "", seen);
  }
  CHECK(cached_files(cache).size() == 6);
  CHECK(cached({"a", ""}, "").note.empty());
}

TEST_CASE("other tokens, another size or other ends are another file of tables", "[grammar][cache]") {
  const TempDir temp;
  std::int64_t made = 0;
  const auto ask = [&](std::string_view name, std::int64_t size, const std::vector<std::int32_t>& ends) {
    return cached_vocabulary(name, size, ends, temp / "c", [&] {
      ++made;
      return VocabularyTexts(size, ends, [](std::int32_t) { return "x"; });
    });
  };
  for (int i = 0; i < 2; ++i) {
    CHECK(ask("a", 4, {3}).vocabulary.size() == 4);
    CHECK(ask("b", 4, {3}).vocabulary.size() == 4);
    CHECK(ask("a", 5, {3}).vocabulary.size() == 5);
    CHECK(ask("a", 4, {2}).vocabulary.is_end(2));
    CHECK(ask("a", 4, {2, 3}).vocabulary.end_tokens().size() == 2);
  }
  CHECK(made == 5);
  for (int i = 0; i < 2; ++i) CHECK(ask("", 4, {3}).note.empty());  // nobody knows whose tokens these are
  CHECK(made == 7);
  CHECK(cached_files(temp / "c").size() == 5);
}

TEST_CASE("damaged tables are said, and made again", "[grammar][cache]") {
  const TempDir temp;
  const std::string cache = temp / "cache";
  std::mt19937 random(3);
  const std::vector<std::string> tokens = random_tokens(random);
  cached(tokens, cache);
  const std::string path = cached_files(cache).front();
  for (const std::int64_t at : {0, 20, 50, 60, 64, 4000}) {
    std::string bytes = read_file(path, 1 << 24);
    bytes[static_cast<std::size_t>(at)] = static_cast<char>(bytes[static_cast<std::size_t>(at)] ^ 4);
    write_file(path, bytes);
    const CachedVocabulary again = cached(tokens, cache);
    CHECK(again.note.find("made again, because EXPERT-E204") != std::string::npos);
    CHECK(again.note.find("; and kept in " + cache) != std::string::npos);
    CHECK(image_of(again.vocabulary) == image_of(Vocabulary(texts_of(tokens))));
    CHECK(cached(tokens, cache).note.empty());
  }
  write_file(temp / "file", "x");
  const CachedVocabulary not_kept = cached(tokens, temp / "file/cache");
  CHECK(not_kept.note.find("made, not kept, EXPERT-E203") != std::string::npos);
  CHECK(look_everything_up(not_kept.vocabulary) > 0);
}

// The checksum is no guard here: whatever the words of an image are, it is refused or stays within its bounds.
TEST_CASE("tables of any content are refused or harmless", "[grammar][cache]") {
  std::mt19937_64 random(11);
  std::mt19937 tokens_random(5);
  std::vector<std::string> tokens = random_tokens(tokens_random);
  tokens.resize(std::min<std::size_t>(tokens.size(), 60));
  tokens.emplace_back();
  const std::string image = image_of(Vocabulary(texts_of(tokens)));
  std::int64_t refused = 0, taken = 0;
  for (int i = 0; i < 20000; ++i) {
    const auto bytes = std::make_shared<const std::vector<std::uint64_t>>(changed_words(image, random, 64));
    const auto vocabulary = Vocabulary::load(ImageReader(std::as_bytes(std::span(*bytes))), bytes);
    (vocabulary ? taken : refused) += 1;
    if (vocabulary) look_everything_up(*vocabulary);
  }
  CHECK(refused > 5000);
  CHECK(taken > 0);
}

}  // namespace vocabulary_test
