// NFC and the Unicode classes against PyPI tokenizers (counts over all code points, cases in tests/data) and UAX 15.
#include "expert/text/normalize.hpp"

#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "expert/core/random.hpp"

namespace normalize_test {
using namespace expert;

namespace {

std::string utf8(std::initializer_list<std::uint32_t> codes) {
  std::string text;
  for (const std::uint32_t code : codes) append_utf8(text, code);
  return text;
}

template <class F>
void each_code_point(F&& f) {
  for (std::uint32_t code = 0; code < 0x110000; ++code)
    if (code < 0xd800 || code >= 0xe000) f(code);
}

}  // namespace

TEST_CASE("every code point survives encoding and decoding as UTF-8") {
  int wrong = 0;
  each_code_point([&](std::uint32_t code) {
    const std::string text = utf8({code});
    const CodePoint c = decode_utf8(text.data());
    wrong += c.code != code || c.length != text.size() || utf8_error(text) != std::string::npos ||
             previous_utf8(text, text.size()) != 0;
  });
  CHECK(wrong == 0);
}

TEST_CASE("the classes have as many code points as in PyPI tokenizers") {
  int letters = 0, numbers = 0, spaces = 0, numeric = 0, words = 0;
  each_code_point([&](std::uint32_t code) {
    const unsigned c = class_of(code);
    letters += (c & is_letter) != 0;
    numbers += (c & is_number) != 0;
    spaces += (c & is_space) != 0;
    numeric += (c & is_numeric) != 0;
    words += (c & is_word) != 0;
  });
  CHECK(letters == 141028);
  CHECK(numbers == 1911);
  CHECK(spaces == 25);
  CHECK(numeric == 1924);
  CHECK(words > letters);
  CHECK((class_of('_') & is_word) != 0);
  CHECK(class_of(0x10ffff) == 0);
}

TEST_CASE("exactly 1,120 code points change under NFC, as in PyPI tokenizers") {
  int changed = 0, unfinished = 0;
  each_code_point([&](std::uint32_t code) {
    const std::string text = utf8({code}), normal = normalize_nfc(text);
    changed += normal != text;
    unfinished += normalize_nfc(normal) != normal;
  });
  CHECK(changed == 1120);
  CHECK(unfinished == 0);
}

TEST_CASE("NFC composes, orders and leaves alone what UAX 15 says") {
  CHECK(normalize_nfc("plain") == "plain");
  CHECK(normalize_nfc("") == "");
  CHECK(normalize_nfc(utf8({'e', 0x301})) == utf8({0xe9}));
  CHECK(normalize_nfc(utf8({0x301, 'e'})) == utf8({0x301, 'e'}));
  CHECK(normalize_nfc(utf8({'s', 0x307, 0x323})) == utf8({0x1e69}));  // dot below is class 220, above 230
  CHECK(normalize_nfc(utf8({0x1e9b, 0x323})) == utf8({0x1e9b, 0x323}));
  CHECK(normalize_nfc(utf8({0x212b})) == utf8({0xc5}));         // Angstrom sign
  CHECK(normalize_nfc(utf8({0x958})) == utf8({0x915, 0x93c}));  // a composition exclusion
  CHECK(normalize_nfc(utf8({'a', 0x345, 0x301})) == utf8({0xe1, 0x345}));
  CHECK(normalize_nfc(utf8({'a', 0x301, 0x301})) == utf8({0xe1, 0x301}));  // the second is blocked
  CHECK(normalize_nfc(utf8({0x1100, 0x1161, 0x11a8})) == utf8({0xac01}));  // Hangul
  CHECK(normalize_nfc(utf8({0xac00, 0x11a8})) == utf8({0xac01}));
  CHECK(normalize_nfc(utf8({0xac00, 0x11a7})) == utf8({0xac00, 0x11a7}));  // TBase itself joins nothing
  CHECK(normalize_nfc(utf8({0x9c7, 0x9be})) == utf8({0x9cb}));             // two starters
  CHECK(normalize_nfc(utf8({'a', 0x1ab0, 0x323})) == utf8({0x1ea1, 0x1ab0}));
}

TEST_CASE("marks that came after Unicode 9.0 are not reordered") {
  CHECK(normalize_nfc(utf8({'a', 0x301, 0x1df9})) == utf8({0xe1, 0x1df9}));        // class 220 since Unicode 10
  CHECK(normalize_nfc(utf8({'b', 0x302, 0x1df9})) == utf8({'b', 0x302, 0x1df9}));  // 0x323 would move to the front
  CHECK(normalize_nfc(utf8({'b', 0x302, 0x323})) == utf8({0x1e05, 0x302}));
  CHECK(normalize_nfc(utf8({0x11935, 0x11930})) == utf8({0x11935, 0x11930}));  // a composite since Unicode 13
}

TEST_CASE("canonically equivalent orders of marks have one NFC") {
  const RandomStream random(5, Purpose::shuffle);
  const std::uint32_t marks[] = {0x300, 0x323, 0x328, 0x345, 0x334, 0x5b0, 0x64b, 0x3099};  // all classes differ
  std::uint64_t n = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::uint32_t> run;
    for (const std::uint32_t m : marks)
      if (random.below(n++, 2)) run.push_back(m);
    std::string sorted = "e", shuffled = "e";
    for (const std::uint32_t m : run) append_utf8(sorted, m);
    for (std::size_t i = run.size(); i > 1; --i)
      std::swap(run[i - 1], run[random.below(n++, static_cast<std::uint32_t>(i))]);
    for (const std::uint32_t m : run) append_utf8(shuffled, m);
    REQUIRE(normalize_nfc(sorted) == normalize_nfc(shuffled));
  }
}

TEST_CASE("a run of marks takes the same result whether it is sorted by insertion or by counting") {
  std::string text = "q", expected = "q";
  for (int i = 0; i < 500; ++i) text += utf8({0x301, 0x323, 0x345});
  for (const std::uint32_t m : {0x323u, 0x301u, 0x345u})
    for (int i = 0; i < 500; ++i) append_utf8(expected, m);
  CHECK(normalize_nfc(text) == expected);
}

TEST_CASE("ill-formed UTF-8 is found, and decodes with one U+FFFD per maximal part") {
  const std::string r = "\xef\xbf\xbd";
  const std::pair<std::string, std::string> cases[] = {
      {"ok", "ok"},
      {"\xff", r},
      {"a\x80z", "a" + r + "z"},
      {"\xc3", r},
      {"\xc0\xaf", r + r},
      {"\xe0\x9f\xbf", r + r + r},
      {"\xed\xa0\x80", r + r + r},  // a surrogate
      {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", r + r + r + r + "A"},
      {"\xf4\x90\x80\x80", r + r + r + r},
      {"\xf0\x9f\x98", r},
      {"\xe4\xbd\xa0\xe4\xbd", "\xe4\xbd\xa0" + r},
  };
  for (const auto& [bytes, text] : cases) {
    CHECK(utf8_lossy(bytes) == text);
    CHECK((utf8_error(bytes) == std::string::npos) == (bytes == text));
  }
}

}  // namespace normalize_test
