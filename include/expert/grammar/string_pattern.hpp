// A regular expression -> the JSON strings that it matches, as a part of a grammar: a subset of ECMA-262 without
// lookaround, back references and \b.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/grammar/syntax.hpp"
#include "expert/text/unicode.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode pattern_unsupported{338, "a pattern is not valid or not supported"};

namespace detail {

// One character of `ranges` as it stands in a JSON string, in one spelling only: quotes, backslashes and control
// characters as their short escapes or \u00xx, all else as itself.
inline std::int32_t json_character(GrammarSyntax& syntax, const std::vector<CodeRange>& ranges) {
  constexpr std::string_view escaped = "\"\\\b\f\n\r\t", names = "\"\\bfnrt", hex = "0123456789abcdef";
  std::vector<std::int32_t> choices;
  std::vector<CodeRange> plain;
  const auto take_plain = [&](std::uint32_t low, std::uint32_t high) {
    if (low <= high) plain.push_back({low, high});
  };
  for (const auto [low, high] : ranges) {
    for (std::uint32_t c = low; c <= high && c < 0x20; ++c) {
      const std::size_t k = escaped.find(static_cast<char>(c));
      std::string text = "\\";
      if (k != escaped.npos)
        text += names[k];
      else
        text += "u00", text += hex[c >> 4], text += hex[c & 15];
      choices.push_back(syntax.text(text));
    }
    for (const char c : {'"', '\\'})
      if (low <= static_cast<unsigned char>(c) && static_cast<unsigned char>(c) <= high)
        choices.push_back(syntax.text(std::string("\\") + c));
    take_plain(std::max(low, 0x20u), std::min(high, 0x21u));
    take_plain(std::max(low, 0x23u), std::min(high, 0x5bu));
    take_plain(std::max(low, 0x5du), high);
  }
  if (!plain.empty()) choices.insert(choices.begin(), syntax.chars(std::move(plain)));
  return choices.empty() ? syntax.chars({}) : syntax.choice(std::move(choices));
}

class PatternParser {
 public:
  // `any` is a node for any text: what an unanchored end leaves open.
  PatternParser(GrammarSyntax& syntax, std::string_view pattern, std::string where, std::int32_t any,
                const Limits& limits)
      : syntax_(syntax), text_(pattern), where_(std::move(where)), any_(any), limits_(limits) {}

  std::int32_t parse() {
    if (std::cmp_greater(text_.size(), limits_.grammar_bytes)) fail("a shorter pattern", 0);
    if (utf8_error(text_) != text_.npos) fail("UTF-8", utf8_error(text_));
    std::vector<std::int32_t> choices;
    do {
      const bool from_start = take('^');
      std::vector<std::int32_t> items;
      if (!from_start) items.push_back(any_);
      items.push_back(sequence(0));
      if (!take('$')) items.push_back(any_);
      choices.push_back(syntax_.sequence(std::move(items)));
    } while (take('|'));
    if (at_ < text_.size()) fail("the end of the pattern", at_);
    return syntax_.choice(std::move(choices));
  }

 private:
  char peek(std::size_t k = 0) const { return at_ + k < text_.size() ? text_[at_ + k] : '\0'; }
  bool take(char c) {
    const bool there = at_ < text_.size() && text_[at_] == c;
    at_ += there;
    return there;
  }
  [[noreturn]] void fail(std::string expected, std::size_t at) const {
    throw Error(pattern_unsupported,
                {.file = {},
                 .where = where_,
                 .expected = std::move(expected),
                 .got = joined({expert::quoted(text_.substr(std::min(at, text_.size()), 12)), " at byte ", at}),
                 .fix = "Write it without lookaround, back references and anchors within"});
  }

  std::int32_t sequence(std::int64_t depth) {
    std::vector<std::int32_t> items;
    while (at_ < text_.size() && peek() != '|' && peek() != ')' && peek() != '$') items.push_back(repeated(depth));
    return items.empty() ? syntax_.text("") : syntax_.sequence(std::move(items));
  }
  std::int32_t repeated(std::int64_t depth) {
    std::int32_t item = atom(depth);
    const char c = peek();
    if (c != '*' && c != '+' && c != '?' && c != '{') return item;
    const std::size_t start = at_++;
    std::int64_t min = c == '+' ? 1 : 0, max = c == '?' ? 1 : GrammarNode::unbounded;
    if (c == '{') {
      min = max = count();
      if (take(',')) max = peek() == '}' ? GrammarNode::unbounded : count();
      if (!take('}') || (max != GrammarNode::unbounded && max < min)) fail("{m}, {m,} or {m,n} with m <= n", start);
    }
    take('?');  // a lazy repetition matches the same texts
    if (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') fail("one repetition of an item", at_);
    return syntax_.repeat(item, min, max);
  }
  std::int64_t count() {
    const std::size_t start = at_;
    std::int64_t n = 0;
    while (peek() >= '0' && peek() <= '9' && n <= limits_.grammar_repetitions) n = n * 10 + (text_[at_++] - '0');
    if (at_ == start || n > limits_.grammar_repetitions)
      fail(joined({"a number up to ", limits_.grammar_repetitions, " (grammar_repetitions)"}), start);
    return n;
  }

  std::int32_t atom(std::int64_t depth) {
    const std::size_t start = at_;
    const char c = peek();
    if (c == '(') {
      ++at_;
      if (take('?') && !take(':')) fail("( or (?:", start);
      if (depth >= limits_.grammar_depth) fail("fewer groups in groups", start);
      std::vector<std::int32_t> choices;
      do choices.push_back(sequence(depth + 1));
      while (take('|'));
      if (!take(')')) fail("a closing parenthesis", start);
      return syntax_.choice(std::move(choices));
    }
    if (c == '[') return json_character(syntax_, bracket());
    if (c == '.') {
      ++at_;
      return json_character(syntax_, complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
    }
    if (c == '^' || c == '*' || c == '+' || c == '?' || c == '{' || c == '}' || c == ']') fail("a character", start);
    return json_character(syntax_, c == '\\' ? escape() : literal());
  }
  std::vector<CodeRange> literal() {
    const CodePoint point = decode_utf8(text_.data() + at_);
    at_ += point.length;
    return {{point.code, point.code}};
  }

  std::vector<CodeRange> bracket() {
    const std::size_t start = at_++;
    const bool negated = take('^');
    std::vector<CodeRange> ranges;
    while (peek() != ']') {
      if (at_ >= text_.size()) fail("a closing bracket", start);
      const std::size_t item = at_;
      std::vector<CodeRange> part = class_item();
      if (peek() == '-' && peek(1) != ']' && at_ + 1 < text_.size()) {
        ++at_;
        const std::vector<CodeRange> end = class_item();
        const bool single = part.size() == 1 && end.size() == 1 && part[0].low == part[0].high;
        if (!single || end[0].low != end[0].high || end[0].low < part[0].low) fail("a range from low to high", item);
        part[0].high = end[0].low;
      }
      ranges.insert(ranges.end(), part.begin(), part.end());
    }
    ++at_;
    normalize(ranges);
    if (negated) ranges = complement(std::move(ranges));
    if (ranges.empty()) fail("a class with at least one character", start);
    return ranges;
  }
  std::vector<CodeRange> class_item() { return peek() == '\\' ? escape() : literal(); }

  std::vector<CodeRange> escape() {
    const std::size_t start = at_++;
    const char c = peek();
    ++at_;
    const std::vector<CodeRange> digits{{'0', '9'}};
    const std::vector<CodeRange> word{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    const std::vector<CodeRange> space{{9, 13},          {' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680},
                                       {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f},
                                       {0x3000, 0x3000}, {0xfeff, 0xfeff}};
    switch (c) {
      case 'd':
        return digits;
      case 'D':
        return complement(digits);
      case 'w':
        return word;
      case 'W':
        return complement(word);
      case 's':
        return space;
      case 'S':
        return complement(space);
      case 'x':
        return hex(start, 2);
      case 'u':
        return hex(start, 4);
      default:
        break;
    }
    constexpr std::string_view names = "nrtfv", meanings = "\n\r\t\f\v";
    if (const std::size_t k = names.find(c); k != names.npos) return one(meanings[k]);
    constexpr std::string_view signs = "^$\\.*+?()[]{}|/-\"'!#%&,:;<=>@`~_ ";
    if (at_ > text_.size() || signs.find(c) == signs.npos) fail("an escape that is supported", start);
    return one(c);
  }
  static std::vector<CodeRange> one(char c) { return {{static_cast<unsigned char>(c), static_cast<unsigned char>(c)}}; }
  std::vector<CodeRange> hex(std::size_t start, int digits) {
    std::uint32_t code = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const char c = peek(), lower = static_cast<char>(c | 0x20);
      if (!(c >= '0' && c <= '9') && !(lower >= 'a' && lower <= 'f')) fail("hexadecimal digits", start);
      code = code << 4 | static_cast<std::uint32_t>(c <= '9' ? c - '0' : lower - 'a' + 10);
    }
    if (code >= 0xd800 && code <= 0xdfff) fail("a code point of Unicode", start);
    return {{code, code}};
  }

  GrammarSyntax& syntax_;
  std::string_view text_;
  std::string where_;
  std::int32_t any_;
  const Limits& limits_;
  std::size_t at_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
