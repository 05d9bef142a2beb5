// What the readers of database schemas share: a place in a text, names, and an error that says where.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode database_schema_unreadable{349, "the schema of a database cannot be read"};

// A table, a column, a label...: as it is meant, without quotes.
struct SchemaName {
  std::string text;
  bool quoted = false;  // in the schema: its case counts
};

namespace detail {

class SchemaText {
 public:
  // Throws E349 where the text is longer than grammar_bytes.
  SchemaText(std::string_view text, const std::string& file, const Limits& limits) : text_(text), file_(file) {
    if (std::cmp_greater(text.size(), limits.grammar_bytes))
      fail(joined({"at most ", limits.grammar_bytes, " bytes (grammar_bytes)"}));
  }

  bool at_end() const { return at_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  char take() { return at_end() ? '\0' : text_[at_++]; }
  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  // Blanks, and comments of SQL.
  void skip_space() {
    for (;;) {
      while (!at_end() && is_space(peek())) ++at_;
      if (take("--"))
        at_ = std::min(text_.find('\n', at_), text_.size());
      else if (take("/*"))
        at_ = text_.find("*/", at_) == text_.npos ? text_.size() : text_.find("*/", at_) + 2;
      else
        return;
    }
  }
  // The next word's beginning in capitals, nothing taken; empty where none stands here.
  std::string peek_word() const {
    std::string word;
    for (std::size_t i = at_; i < text_.size() && is_word(text_[i]); ++i)
      word += static_cast<char>(text_[i] >= 'a' && text_[i] <= 'z' ? text_[i] - 'a' + 'A' : text_[i]);
    return word;
  }
  bool take_keyword(std::string_view keyword) {
    if (peek_word() != keyword) return false;
    at_ += keyword.size();
    skip_space();
    return true;
  }
  // A word, or anything in "", `` or []. Blanks behind it are taken, too.
  SchemaName take_name(const char* what) {
    SchemaName name;
    const char open = peek();
    name.quoted = open == '"' || open == '`' || open == '[';
    if (name.quoted) {
      name.text = take_quoted(open == '[' ? ']' : open);
    } else {
      if (open >= '0' && open <= '9') fail(what);
      while (!at_end() && is_word(peek())) name.text += take();
    }
    if (name.text.empty()) fail(what);
    skip_space();
    return name;
  }
  // "(20)": of a type, not a list of names.
  bool begins_size() const {
    return peek() == '(' && at_ + 1 < text_.size() && text_[at_ + 1] >= '0' && text_[at_ + 1] <= '9';
  }
  // A literal, a quoted name, a group in parentheses, or one character.
  void skip_item() {
    const std::size_t begin = at_;
    std::int64_t depth = 0;
    do {
      if (at_end()) at_ = begin, fail("a closing parenthesis");
      const char c = peek();
      if (c == '\'' || c == '"' || c == '`')
        take_quoted(c);
      else
        depth += (c == '(') - (c == ')'), ++at_;
      skip_space();
    } while (depth > 0);
  }
  [[noreturn]] void fail(std::string expected) const {
    std::size_t line = 1, column = 1;
    for (std::size_t i = 0; i < at_ && i < text_.size(); ++i) {
      ++column;
      if (text_[i] == '\n') ++line, column = 1;
    }
    throw Error(database_schema_unreadable,
                {.file = file_,
                 .where = joined({"line ", line, ", column ", column}),
                 .expected = std::move(expected),
                 .got = at_end() ? std::string("the end") : expert::quoted(text_.substr(at_, 20)),
                 .fix = "Correct the schema, or generate without --schema-bound"});
  }

 private:
  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
  static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
           static_cast<unsigned char>(c) >= 0x80;
  }
  // A quote within is written twice.
  std::string take_quoted(char close) {
    const std::size_t begin = at_++;
    std::string inside;
    for (;; inside += take()) {
      if (at_end()) at_ = begin, fail("a closing quote");
      if (peek() != close) continue;
      ++at_;
      if (peek() != close) return inside;
    }
  }

  std::string_view text_;
  std::string file_;
  std::size_t at_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
