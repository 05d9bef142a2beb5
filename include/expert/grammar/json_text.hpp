// The parts of JSON's own grammar: blanks, strings, numbers, any value, and strings that are none of a list.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/limits.hpp"
#include "expert/grammar/string_pattern.hpp"
#include "expert/grammar/syntax.hpp"

namespace expert {
inline namespace v0 {

// Where blanks may stand.
enum class JsonBlanks : std::uint8_t {
  any,   // wherever JSON allows them, as many as one likes
  one,   // at most one space behind each colon and comma
  none,  // nowhere
};

namespace detail {

// Each part is made when it is first asked for; recursive ones are rules.
class JsonText {
 public:
  JsonText(GrammarSyntax& syntax, JsonBlanks blanks, const Limits& limits)
      : syntax_(syntax), blanks_(blanks), limits_(limits) {}

  // Between tokens; behind a colon or a comma.
  std::int32_t blank() {
    if (blanks_ != JsonBlanks::any) return syntax_.text("");
    return syntax_.repeat(syntax_.chars({{'\t', '\n'}, {'\r', '\r'}, {' ', ' '}}), 0, GrammarNode::unbounded);
  }
  std::int32_t blank_behind() { return blanks_ == JsonBlanks::one ? syntax_.optional(syntax_.text(" ")) : blank(); }
  std::int32_t sign(std::string_view c) {
    const std::int32_t before = blank();
    return syntax_.sequence({before, syntax_.text(c), blank_behind()});
  }
  std::int32_t opening(std::string_view c) { return syntax_.sequence({syntax_.text(c), blank()}); }
  std::int32_t closing(std::string_view c) { return syntax_.sequence({blank(), syntax_.text(c)}); }

  // (item (, item)*)? of min to max items between two signs.
  std::int32_t list(std::string_view open, std::int32_t item, std::int64_t min, std::int64_t max,
                    std::string_view close) {
    const std::int64_t more = max == GrammarNode::unbounded ? max : std::max<std::int64_t>(max - 1, 0);
    std::int32_t items = syntax_.text("");
    if (max != 0) {
      const std::int32_t rest =
          syntax_.repeat(syntax_.sequence({sign(","), item}), std::max<std::int64_t>(min - 1, 0), more);
      items = syntax_.sequence({item, rest});
      if (min == 0) items = syntax_.optional(items);
    }
    return syntax_.sequence({opening(open), items, closing(close)});
  }

  std::int32_t value() {
    if (value_ < 0) {
      value_ = syntax_.add_rule("json-value");
      const std::int32_t object = list("{", member(string(), syntax_.mention(value_)), 0, GrammarNode::unbounded, "}");
      const std::int32_t array = list("[", syntax_.mention(value_), 0, GrammarNode::unbounded, "]");
      set(value_, syntax_.choice({object, array, string(), number(), boolean(), syntax_.text("null")}));
    }
    return syntax_.mention(value_);
  }
  std::int32_t any_object() { return list("{", member(string(), value()), 0, GrammarNode::unbounded, "}"); }
  std::int32_t any_array() { return list("[", value(), 0, GrammarNode::unbounded, "]"); }
  std::int32_t member(std::int32_t key, std::int32_t value) { return syntax_.sequence({key, sign(":"), value}); }
  std::int32_t boolean() { return syntax_.choice({syntax_.text("true"), syntax_.text("false")}); }

  std::int32_t integer() {
    if (integer_ < 0)
      integer_ = syntax_.add_rule(
          "json-integer",
          syntax_.sequence(
              {syntax_.optional(syntax_.text("-")),
               syntax_.choice({syntax_.text("0"), syntax_.sequence({syntax_.chars({{'1', '9'}}), digits(0)})})}));
    return syntax_.mention(integer_);
  }
  // Exponents have at most two digits, so that every number is one that a double holds.
  std::int32_t number() {
    if (number_ < 0) {
      const std::int32_t exponent = syntax_.sequence({syntax_.chars({{'E', 'E'}, {'e', 'e'}}),
                                                      syntax_.optional(syntax_.chars({{'+', '+'}, {'-', '-'}})),
                                                      syntax_.repeat(syntax_.chars({{'0', '9'}}), 1, 2)});
      const std::int32_t fraction = syntax_.sequence({syntax_.text("."), digits(1)});
      number_ = syntax_.add_rule("json-number",
                                 syntax_.sequence({integer(), syntax_.optional(fraction), syntax_.optional(exponent)}));
    }
    return syntax_.mention(number_);
  }

  // Any string, escapes in every spelling.
  std::int32_t string() {
    if (string_ < 0) string_ = syntax_.add_rule("json-string", string_of(0, GrammarNode::unbounded));
    return syntax_.mention(string_);
  }
  std::int32_t string_of(std::int64_t min, std::int64_t max) {
    return quoted(syntax_.repeat(syntax_.choice({plain(), syntax_.mention(escape())}), min, max));
  }
  std::int32_t quoted(std::int32_t content) {
    return syntax_.sequence({syntax_.text("\""), content, syntax_.text("\"")});
  }
  // A pattern's strings have one spelling each.
  std::int32_t string_like(std::string_view pattern, const std::string& where) {
    const std::int32_t any = syntax_.repeat(json_character(syntax_, complement({})), 0, GrammarNode::unbounded);
    return quoted(PatternParser(syntax_, pattern, where, any, limits_).parse());
  }
  // Any string but these, each of which is the text between its quotes as Json::dump writes it. Escapes have the one
  // spelling that dump() gives them, so no other spelling of one of these gets in.
  std::int32_t string_except(std::vector<std::string> texts) {
    std::sort(texts.begin(), texts.end());
    return quoted(except(texts, 0, texts.size(), 0));
  }

 private:
  void set(std::int32_t rule, std::int32_t node) { syntax_.rules[static_cast<std::size_t>(rule)].node = node; }
  std::int32_t digits(std::int64_t min) {
    return syntax_.repeat(syntax_.chars({{'0', '9'}}), min, GrammarNode::unbounded);
  }
  std::int32_t plain() { return syntax_.chars(complement({{0, 0x1f}, {'"', '"'}, {'\\', '\\'}})); }
  // A rule: in long repetitions it is called, not written out. A character beyond U+FFFF is a pair of surrogates.
  std::int32_t escape() {
    if (escape_ >= 0) return escape_;
    const auto hex = [this] { return syntax_.chars({{'0', '9'}, {'A', 'F'}, {'a', 'f'}}); };
    const std::int32_t three = syntax_.repeat(hex(), 3, 3), two = syntax_.repeat(hex(), 2, 2);
    const std::int32_t d = syntax_.chars({{'D', 'D'}, {'d', 'd'}});
    const std::int32_t ordinary = syntax_.choice(
        {syntax_.sequence({syntax_.chars({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}), three}),
         syntax_.sequence({d, syntax_.chars({{'0', '7'}}), two})});
    const std::int32_t pair = syntax_.sequence({d, syntax_.chars({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}), two,
                                                syntax_.text("\\u"), d, syntax_.chars({{'C', 'F'}, {'c', 'f'}}), two});
    const std::int32_t by_number = syntax_.sequence({syntax_.text("u"), syntax_.choice({ordinary, pair})});
    const std::int32_t by_name = syntax_.chars(
        {{'"', '"'}, {'/', '/'}, {'\\', '\\'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}});
    escape_ =
        syntax_.add_rule("json-escape", syntax_.sequence({syntax_.text("\\"), syntax_.choice({by_name, by_number})}));
    return escape_;
  }

  // What may stand behind the first `at` bytes that texts[begin, end) share, so that the whole is none of them. Parts
  // are whole characters or whole escapes.
  std::int32_t except(const std::vector<std::string>& texts, std::size_t begin, std::size_t end, std::size_t at) {
    const bool ends_here = begin < end && texts[begin].size() == at;
    std::vector<std::int32_t> choices;
    if (!ends_here) choices.push_back(syntax_.text(""));
    std::vector<CodeRange> taken;
    for (std::size_t i = begin + ends_here; i < end;) {
      const std::string part = first_part(std::string_view(texts[i]).substr(at));
      std::size_t next = i;
      while (next < end && texts[next].compare(at, part.size(), part) == 0) ++next;
      choices.push_back(syntax_.sequence({syntax_.text(part), except(texts, i, next, at + part.size())}));
      const std::uint32_t code = code_of(part);
      taken.push_back({code, code});
      i = next;
    }
    const std::int32_t any = syntax_.repeat(json_character(syntax_, complement({})), 0, GrammarNode::unbounded);
    choices.push_back(syntax_.sequence({json_character(syntax_, complement(taken)), any}));
    return syntax_.choice(std::move(choices));
  }
  static std::string first_part(std::string_view text) {
    if (text[0] == '\\') return std::string(text.substr(0, text[1] == 'u' ? 6 : 2));
    return std::string(text.substr(0, decode_utf8(text.data()).length));
  }
  static std::uint32_t code_of(std::string_view part) {
    if (part[0] != '\\') return decode_utf8(part.data()).code;
    constexpr std::string_view names = "\"\\bfnrt", meanings = "\"\\\b\f\n\r\t";
    if (part[1] != 'u') return static_cast<unsigned char>(meanings[names.find(part[1])]);
    const auto digit = [](char c) { return static_cast<std::uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10); };
    return digit(part[4]) << 4 | digit(part[5]);
  }

  GrammarSyntax& syntax_;
  JsonBlanks blanks_;
  const Limits& limits_;
  std::int32_t value_ = -1, string_ = -1, number_ = -1, integer_ = -1, escape_ = -1;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
