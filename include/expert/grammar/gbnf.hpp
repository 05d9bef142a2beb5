// GBNF text -> GrammarSyntax: llama.cpp's notation (grammars/README.md there), without its references to single tokens.
//
//   root ::= "SELECT " name (", " name){0,3}   # sequence, choice |, groups, and * + ? {m} {m,} {m,n} behind an item
//   name ::= [a-zA-Z_] [^\x00-\x20"]* | .      # characters, also negated; escapes \xNN \uNNNN \UNNNNNNNN \n \r \t
//
// A rule ends with its line, except within parentheses and behind ::= and |.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/core/text_index.hpp"
#include "expert/grammar/syntax.hpp"
#include "expert/text/unicode.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode gbnf_syntax{320, "a grammar is not valid GBNF"};
inline constexpr ErrorCode gbnf_encoding{321, "a grammar is not valid UTF-8"};
inline constexpr ErrorCode gbnf_undefined_rule{323, "a grammar mentions a rule that it does not define"};
inline constexpr ErrorCode gbnf_duplicate_rule{324, "a grammar defines a rule twice"};
inline constexpr ErrorCode gbnf_repetition{327, "a repetition has impossible bounds"};
inline constexpr ErrorCode gbnf_class{328, "a character class is empty or reversed"};
inline constexpr ErrorCode grammar_too_deep{329, "a grammar is nested too deep"};
inline constexpr ErrorCode gbnf_no_root{330, "a grammar has no rule \"root\""};
inline constexpr ErrorCode gbnf_token_reference{331, "a grammar refers to single tokens, which is not supported"};

namespace detail {

class GbnfParser {
 public:
  GbnfParser(std::string_view text, const std::string& file, const Limits& limits) : text_(text), limits_(limits) {
    out_.file = file;
  }

  GrammarSyntax parse() {
    if (std::cmp_greater(text_.size(), limits_.grammar_bytes))
      throw Error(grammar_too_large, {.file = out_.file,
                                      .where = {},
                                      .expected = joined({"at most ", limits_.grammar_bytes, " bytes (grammar_bytes)"}),
                                      .got = joined({text_.size()}),
                                      .fix = {}});
    if (const std::size_t at = utf8_error(text_); at != std::string_view::npos)
      fail(gbnf_encoding, at, "UTF-8", expert::quoted(text_.substr(at, 4)));
    for (skip_space(true); at_ < text_.size(); skip_space(true)) parse_rule();
    const std::int32_t root = names_.find("root");
    if (root < 0)
      throw Error(gbnf_no_root, {.file = out_.file,
                                 .where = {},
                                 .expected = "a rule that a whole text must match",
                                 .got = {},
                                 .fix = "Add \"root ::= ...\""});
    out_.root = root;
    for (const GrammarNode& node : out_.nodes) require_defined(node);
    return std::move(out_);
  }

 private:
  using Kind = GrammarNode::Kind;

  void require_defined(const GrammarNode& node) const {
    if (node.kind != Kind::rule) return;
    const GrammarRule& rule = out_.rules[static_cast<std::size_t>(node.rule)];
    if (rule.node < 0)
      throw Error(gbnf_undefined_rule, {.file = out_.file,
                                        .where = line_and_column(node.line, node.column),
                                        .expected = "a definition of " + expert::quoted(rule.name),
                                        .got = {},
                                        .fix = "Define it, or correct the name"});
  }

  void parse_rule() {
    const std::size_t start = at_;
    const std::string_view name = read_name();
    const std::int32_t rule = number_of(name, start);
    const auto definition = [&]() -> GrammarRule& { return out_.rules[static_cast<std::size_t>(rule)]; };
    if (definition().node >= 0)
      fail(gbnf_duplicate_rule, start, "one definition of each rule",
           joined({expert::quoted(name), ", defined in ", place_of(definition())}), "Join the two with |");
    skip_space(false);
    if (text_.substr(at_, 3) != "::=") fail(gbnf_syntax, at_, "\"::=\"");
    at_ += 3;
    skip_space(true);
    const auto [line, column] = position(start);
    const std::int32_t node = parse_choice(0);
    definition() = {std::string(name), node, line, column};
    if (at_ < text_.size() && text_[at_] != '\n' && text_[at_] != '\r') fail(gbnf_syntax, at_, "the end of the line");
  }

  std::int32_t number_of(std::string_view name, std::size_t start) {
    const auto next = static_cast<std::int32_t>(out_.rules.size());
    if (!names_.insert(name, next)) return names_.find(name);
    if (std::cmp_greater_equal(out_.rules.size(), limits_.grammar_rules))
      fail(grammar_too_large, start, joined({"at most ", limits_.grammar_rules, " rules (grammar_rules)"}), "more");
    return out_.add_rule(std::string(name));
  }

  std::int32_t parse_choice(std::int64_t depth) {
    std::vector<std::int32_t> items{parse_sequence(depth)};
    while (peek() == '|') {
      ++at_;
      skip_space(true);
      items.push_back(parse_sequence(depth));
    }
    return out_.choice(std::move(items));
  }

  std::int32_t parse_sequence(std::int64_t depth) {
    std::vector<std::int32_t> items;
    for (std::int64_t repeats = 0;; skip_space(depth > 0)) {
      const char c = peek();
      const bool is_repetition = c == '*' || c == '+' || c == '?' || c == '{';
      repeats = is_repetition ? repeats + 1 : 0;
      if (c == '"') {
        items.push_back(parse_literal());
      } else if (c == '[') {
        items.push_back(parse_class());
      } else if (c == '.') {
        ++at_;
        items.push_back(out_.chars(complement({})));
      } else if (c == '(') {
        items.push_back(parse_group(depth));
      } else if (is_name(c)) {
        const auto [line, column] = position(at_);
        const std::size_t start = at_;
        const std::string_view name = read_name();
        items.push_back(out_.mention(number_of(name, start), line, column));
      } else if (is_repetition) {
        if (items.empty()) fail(gbnf_syntax, at_, "an item before the repetition");
        if (repeats > limits_.grammar_depth) too_deep(at_, "repetitions of repetitions");
        items.back() = parse_repetition(items.back());
      } else if (c == '<' || c == '!') {
        fail(gbnf_token_reference, at_, "characters", expert::quoted(text_.substr(at_, 12)),
             "Write the text of the token as a literal");
      } else {
        break;
      }
    }
    return items.empty() ? out_.text("") : out_.sequence(std::move(items));
  }

  std::int32_t parse_group(std::int64_t depth) {
    const std::size_t start = at_++;
    if (depth >= limits_.grammar_depth) too_deep(start, "groups in groups");
    skip_space(true);
    const std::int32_t node = parse_choice(depth + 1);
    if (peek() != ')') fail(gbnf_syntax, at_, "\")\" for the group of " + place(start));
    ++at_;
    return node;
  }

  std::int32_t parse_literal() {
    const std::size_t start = at_++;
    std::string bytes;
    while (peek() != '"') {
      require_more(start, "a closing double quote");
      append_utf8(bytes, read_character());
    }
    ++at_;
    return out_.text(bytes);
  }

  std::int32_t parse_class() {
    const std::size_t start = at_++;
    const bool negated = peek() == '^';
    at_ += negated;
    std::vector<CodeRange> ranges;
    while (peek() != ']') {
      require_more(start, "a closing bracket");
      const std::size_t begin = at_;
      const std::uint32_t low = read_character();
      std::uint32_t high = low;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        require_more(start, "a closing bracket");
        high = read_character();
      }
      if (high < low)
        fail(gbnf_class, begin, "the lower character first", expert::quoted(text_.substr(begin, at_ - begin)));
      ranges.push_back({low, high});
    }
    ++at_;
    if (ranges.empty()) fail(gbnf_class, start, "a character between the brackets", {}, "Write . for any character");
    normalize(ranges);
    if (negated) ranges = complement(std::move(ranges));
    if (ranges.empty()) fail(gbnf_class, start, "a class with at least one character");
    return out_.chars(std::move(ranges));
  }

  std::int32_t parse_repetition(std::int32_t item) {
    const std::size_t start = at_;
    const char c = text_[at_++];
    if (c == '*') return out_.repeat(item, 0, GrammarNode::unbounded);
    if (c == '+') return out_.repeat(item, 1, GrammarNode::unbounded);
    if (c == '?') return out_.repeat(item, 0, 1);
    skip_space(false);
    const std::int64_t min = read_count();
    std::int64_t max = min;
    if (peek() == ',') {
      ++at_;
      skip_space(false);
      max = peek() == '}' ? GrammarNode::unbounded : read_count();
    }
    if (peek() != '}') fail(gbnf_syntax, at_, "\"}\"");
    ++at_;
    if (max != GrammarNode::unbounded && max < min)
      fail(gbnf_repetition, start, "the lower bound first", expert::quoted(text_.substr(start, at_ - start)));
    return out_.repeat(item, min, max);
  }
  std::int64_t read_count() {
    const std::size_t start = at_;
    std::int64_t count = 0;
    while (peek() >= '0' && peek() <= '9') {
      count = count * 10 + (text_[at_++] - '0');
      if (count > limits_.grammar_repetitions)
        fail(gbnf_repetition, start, joined({"at most ", limits_.grammar_repetitions, " (grammar_repetitions)"}),
             "more");
    }
    if (at_ == start) fail(gbnf_syntax, at_, "a number");
    skip_space(false);
    return count;
  }

  // A code point, written as itself or as an escape.
  std::uint32_t read_character() {
    if (text_[at_] != '\\') {
      const CodePoint point = decode_utf8(text_.data() + at_);
      at_ += point.length;
      return point.code;
    }
    const std::size_t start = at_++;
    const char c = peek();
    ++at_;
    if (c == 'x') return read_hex(start, 2);
    if (c == 'u') return read_hex(start, 4);
    if (c == 'U') return read_hex(start, 8);
    constexpr std::string_view names = "nrt\\\"[]", meanings = "\n\r\t\\\"[]";
    const std::size_t k = at_ <= text_.size() ? names.find(c) : names.npos;
    if (k == names.npos)
      fail(gbnf_syntax, start, "one of \\xNN \\uNNNN \\UNNNNNNNN \\n \\r \\t \\\\ \\\" \\[ \\]",
           expert::quoted(text_.substr(start, 2)));
    return static_cast<unsigned char>(meanings[k]);
  }
  std::uint32_t read_hex(std::size_t start, std::size_t digits) {
    std::uint32_t code = 0;
    for (const std::size_t end = at_ + digits; at_ < end; ++at_) {
      const char c = peek();
      const char lower = static_cast<char>(c | 0x20);
      if (!(c >= '0' && c <= '9') && !(lower >= 'a' && lower <= 'f'))
        fail(gbnf_syntax, start, joined({digits, " hexadecimal digits"}),
             expert::quoted(text_.substr(start, digits + 2)));
      code = code << 4 | static_cast<std::uint32_t>(c <= '9' ? c - '0' : lower - 'a' + 10);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
      fail(gbnf_syntax, start, "a code point of Unicode", expert::quoted(text_.substr(start, at_ - start)));
    return code;
  }

  [[noreturn]] void too_deep(std::size_t at, const char* what) const {
    fail(grammar_too_deep, at, joined({"at most ", limits_.grammar_depth, " ", what, " (grammar_depth)"}), "more",
         "Give the inner ones a rule of their own");
  }

  static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  }
  std::string_view read_name() {
    const std::size_t start = at_;
    while (is_name(peek())) ++at_;
    if (at_ == start) fail(gbnf_syntax, at_, "a rule's name");
    return text_.substr(start, at_ - start);
  }
  // Blanks and comments, newlines too where `newlines`.
  void skip_space(bool newlines) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#')
        while (at_ < text_.size() && text_[at_] != '\n' && text_[at_] != '\r') ++at_;
      else if (c == ' ' || c == '\t' || (newlines && (c == '\n' || c == '\r')))
        ++at_;
      else
        return;
    }
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void require_more(std::size_t start, const char* what) const {
    if (at_ >= text_.size()) fail(gbnf_syntax, start, what, "the end of the grammar");
  }

  std::pair<std::int32_t, std::int32_t> position(std::size_t at) {
    // Called for ascending offsets in the main: counting goes on from the last one.
    if (at < counted_) counted_ = 0, line_ = 1, column_ = 1;
    for (; counted_ < at; ++counted_) {
      if (text_[counted_] == '\n')
        ++line_, column_ = 1;
      else
        column_ += (static_cast<unsigned char>(text_[counted_]) & 0xc0u) != 0x80u;  // characters, as editors count
    }
    return {line_, column_};
  }
  std::string place(std::size_t at) const {
    GbnfParser counter(text_, {}, limits_);
    const auto [line, column] = counter.position(at);
    return line_and_column(line, column);
  }
  [[noreturn]] void fail(ErrorCode code, std::size_t at, std::string expected, std::string got = "",
                         std::string fix = "") const {
    if (got.empty() && code == gbnf_syntax)
      got = at < text_.size() ? expert::quoted(text_.substr(at, 1)) : "the end of the grammar";
    throw Error(code, {.file = out_.file,
                       .where = place(at),
                       .expected = std::move(expected),
                       .got = std::move(got),
                       .fix = std::move(fix)});
  }

  std::string_view text_;
  const Limits& limits_;
  std::size_t at_ = 0;
  std::size_t counted_ = 0;
  std::int32_t line_ = 1, column_ = 1;
  GrammarSyntax out_;
  TextIndex names_;
};

}  // namespace detail

// `file` is only named in messages. Throws E320 ... E324 and E327 ... E331, with line and column.
inline GrammarSyntax parse_gbnf(std::string_view text, const std::string& file, const Limits& limits = default_limits) {
  return detail::GbnfParser(text, file, limits).parse();
}

}  // namespace v0
}  // namespace expert
