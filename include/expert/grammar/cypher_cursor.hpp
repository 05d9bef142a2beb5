// The tokens of a Cypher text and a place among them: what stands there, names, and the message where nothing fits.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/grammar/cypher_lexer.hpp"

namespace expert {
inline namespace v0 {

inline constexpr int cypher_max_depth = 400;  // of nested expressions, patterns and subqueries: some 300 KiB of stack

namespace detail {

class CypherCursor {
 public:
  // Throws CypherStop where the text has a character that begins no token.
  explicit CypherCursor(std::string_view text) : text_(text), tokens_(CypherLexer(text).tokens()) {}

  std::size_t steps() const {
    return steps_;
  }  // how often a token was passed: the count of tokens, if none is read twice

 protected:
  using Kind = CypherKind;

  // One more level as long as it lives.
  class Nested {
   public:
    explicit Nested(CypherCursor& parser) : parser_(parser) {
      if (++parser_.depth_ > cypher_max_depth)
        parser_.stop(joined({"more than ", cypher_max_depth, " levels of nesting"}));
    }
    ~Nested() { --parser_.depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    CypherCursor& parser_;
  };

  // Tokens.
  const CypherToken& ahead(std::size_t n) const {
    return tokens_[at_ + n < tokens_.size() ? at_ + n : tokens_.size() - 1];
  }
  const CypherToken& here() const { return tokens_[at_]; }
  std::string_view spelling(const CypherToken& token) const { return text_.substr(token.offset, token.size); }
  bool is_symbol(std::size_t n, char first, char second = '\0') const {
    const CypherToken& token = ahead(n);
    return token.kind == Kind::symbol && token.first == first && token.second == second;
  }
  bool is_one_of(std::size_t n, std::string_view symbols) const {
    const CypherToken& token = ahead(n);
    return token.kind == Kind::symbol && token.second == '\0' && symbols.find(token.first) != symbols.npos;
  }
  bool is_word(std::size_t n, std::string_view keyword) const {
    const CypherToken& token = ahead(n);
    return (token.kind == Kind::word || token.kind == Kind::reserved) && same_word(spelling(token), keyword);
  }
  bool is_name(std::size_t n) const { return ahead(n).kind == Kind::word || ahead(n).kind == Kind::quoted; }
  void advance(std::size_t n = 1) {
    at_ += n;
    steps_ += n;
  }
  bool take(char first, char second = '\0') {
    if (!is_symbol(0, first, second)) return false;
    advance();
    return true;
  }
  bool take_word(std::string_view keyword) {
    if (!is_word(0, keyword)) return false;
    advance();
    return true;
  }
  void expect(char symbol) {
    if (!take(symbol)) fail(joined({"\"", std::string_view(&symbol, 1), "\""}));
  }
  void expect_word(std::string_view keyword) {
    if (!take_word(keyword)) fail(std::string(keyword));
  }

  [[noreturn]] void stop(std::string message) const { throw CypherStop{here().offset, std::move(message)}; }
  [[noreturn]] void fail(std::string expected) const {
    const std::string got = here().kind == Kind::end ? "the end of the text" : expert::quoted(spelling(here()), 30);
    stop(joined({"expected ", expected, ", got ", got}));
  }

  // Names.
  void variable() {
    if (here().kind == Kind::reserved)
      stop(joined({expert::quoted(spelling(here())), " is a reserved word: as a variable, write it in backquotes"}));
    if (!is_name(0)) fail("a variable");
    advance();
  }
  void schema_name(const char* what) {
    if (!is_name(0) && here().kind != Kind::reserved) fail(what);
    advance();
  }
  void parameter() {
    expect('$');
    const CypherToken& name = here();
    const bool fits = is_name(0) || name.kind == Kind::reserved || name.kind == Kind::integer;
    if (!fits || name.offset != tokens_[at_ - 1].offset + 1) fail("a parameter's name directly behind the $");
    advance();
  }
  void labels() {
    while (take(':')) schema_name("a label");
  }

  std::size_t at_ = 0;

 private:
  std::size_t steps_ = 0;
  std::string_view text_;
  std::vector<CypherToken> tokens_;
  int depth_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
