// Text -> the tokens of Cypher: openCypher 9, sections "Lexical structure" and "Literals". Blanks and comments fall
// away.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {
namespace detail {

// Thrown and caught inside of parse_cypher.
struct CypherStop {
  std::size_t offset;
  std::string message;
};

enum class CypherKind : std::uint8_t {
  end,
  word,      // a name or a keyword, whatever stands where it is
  reserved,  // a word that is a name of properties, labels and types only
  quoted,    // `a name`
  integer,
  real,
  string,
  symbol,
};

struct CypherToken {
  CypherKind kind;
  char first = 0, second = 0;  // of a symbol: '<' '=' for "<=", '(' 0 for "("
  std::uint32_t offset = 0, size = 0;
};

constexpr char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
// `keyword` is in capitals.
constexpr bool same_word(std::string_view word, std::string_view keyword) {
  return word.size() == keyword.size() &&
         std::equal(word.begin(), word.end(), keyword.begin(), [](char a, char b) { return upper(a) == b; });
}

// openCypher's ReservedWord, in order. They name properties, labels and types, but no variable and no function.
inline constexpr std::array<std::string_view, 53> cypher_reserved{
    "ADD",       "ALL",    "AND",     "AS",     "ASC",        "ASCENDING", "BY",       "CASE",     "CONSTRAINT",
    "CONTAINS",  "CREATE", "DELETE",  "DESC",   "DESCENDING", "DETACH",    "DISTINCT", "DO",       "DROP",
    "ELSE",      "END",    "ENDS",    "EXISTS", "FALSE",      "FOR",       "IN",       "IS",       "LIMIT",
    "MANDATORY", "MATCH",  "MERGE",   "NOT",    "NULL",       "OF",        "ON",       "OPTIONAL", "OR",
    "ORDER",     "REMOVE", "REQUIRE", "RETURN", "SCALAR",     "SET",       "SKIP",     "STARTS",   "THEN",
    "TRUE",      "UNION",  "UNIQUE",  "UNWIND", "WHEN",       "WHERE",     "WITH",     "XOR"};
static_assert(std::is_sorted(cypher_reserved.begin(), cypher_reserved.end()));

inline bool is_cypher_reserved(std::string_view word) {
  if (word.size() > 10) return false;
  std::string capitals(word);
  for (char& c : capitals) c = upper(c);
  return std::binary_search(cypher_reserved.begin(), cypher_reserved.end(), std::string_view(capitals));
}

struct CypherRange {
  std::uint32_t first, last;
};
template <std::size_t N>
constexpr bool any_holds(const std::array<CypherRange, N>& ranges, std::uint32_t code) {
  return std::any_of(ranges.begin(), ranges.end(), [&](CypherRange r) { return code >= r.first && code <= r.last; });
}
// Unicode's White_Space beyond ASCII, and U+180E, which openCypher lists too.
inline constexpr std::array<CypherRange, 8> cypher_spaces{{{0x85, 0x85},
                                                           {0xa0, 0xa0},
                                                           {0x1680, 0x1680},
                                                           {0x180e, 0x180e},
                                                           {0x2000, 0x200a},
                                                           {0x2028, 0x2029},
                                                           {0x202f, 0x202f},
                                                           {0x205f, 0x205f}}};
// Blocks beyond ASCII without letters: controls, punctuation, symbols, private use. What is left counts as a letter.
inline constexpr std::array<CypherRange, 13> no_letters{{{0x80, 0xa9},
                                                         {0xab, 0xb4},
                                                         {0xb6, 0xb9},
                                                         {0xbb, 0xbf},
                                                         {0xd7, 0xd7},
                                                         {0xf7, 0xf7},
                                                         {0x2000, 0x203e},
                                                         {0x2041, 0x206f},
                                                         {0x2190, 0x2bff},
                                                         {0x3000, 0x3004},
                                                         {0x3008, 0x3020},
                                                         {0xe000, 0xf8ff},
                                                         {0xfe10, 0xff0f}}};

class CypherLexer {
 public:
  // `text` has less than 4 GiB. Throws CypherStop at what is no token.
  explicit CypherLexer(std::string_view text) : text_(text) {}

  std::vector<CypherToken> tokens() {
    std::vector<CypherToken> out;
    out.reserve(text_.size() / 4 + 1);
    for (;;) {
      skip_blanks();
      const std::size_t start = at_;
      CypherToken token = next();
      token.offset = static_cast<std::uint32_t>(start);
      token.size = static_cast<std::uint32_t>(at_ - start);
      if (token.kind == CypherKind::word && is_cypher_reserved(text_.substr(start, token.size)))
        token.kind = CypherKind::reserved;
      out.push_back(token);
      if (token.kind == CypherKind::end) return out;
    }
  }

 private:
  struct Character {
    std::uint32_t code;
    std::size_t size;
  };

  char at(std::size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
  static bool digit(char c) { return c >= '0' && c <= '9'; }
  static bool hex_digit(char c) { return digit(c) || (upper(c) >= 'A' && upper(c) <= 'F'); }

  // The character at byte i, which is not ASCII. Throws where the bytes are not UTF-8.
  Character character(std::size_t i) const {
    const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(at(k)); };
    const unsigned lead = byte(i);
    const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    std::uint32_t code = lead & (0xffu >> (size + 1));
    bool ok = lead >= 0xc2 && lead < 0xf5 && i + size <= text_.size();
    for (std::size_t k = 1; ok && k < size; ++k) {
      ok = (byte(i + k) & 0xc0u) == 0x80u;
      code = code << 6 | (byte(i + k) & 0x3fu);
    }
    ok = ok && !(size == 3 && code < 0x800) && !(size == 4 && (code < 0x10000 || code > 0x10ffff)) &&
         !(code >= 0xd800 && code < 0xe000);
    if (!ok) throw CypherStop{i, "the text is not valid UTF-8"};
    return {code, size};
  }

  // Bytes of a letter at i, 0 where there is none.
  std::size_t letter(std::size_t i) const {
    const char c = at(i);
    if ((upper(c) >= 'A' && upper(c) <= 'Z') || c == '_') return 1;
    if (static_cast<unsigned char>(c) < 0x80) return 0;
    const auto [code, size] = character(i);
    const bool other = code >= 0x1f000 && code < 0x20000;  // pictographs
    return other || any_holds(no_letters, code) || any_holds(cypher_spaces, code) ? 0 : size;
  }
  std::size_t letter_or_digit(std::size_t i) const { return digit(at(i)) ? 1 : letter(i); }

  void skip_blanks() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f)) {
        ++at_;
      } else if (text_.substr(at_, 2) == "//") {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (text_.substr(at_, 2) == "/*") {
        const std::size_t close = text_.find("*/", at_ + 2);
        if (close == text_.npos) throw CypherStop{at_, "this comment is not closed"};
        at_ = close + 2;
      } else if (static_cast<unsigned char>(c) >= 0x80 && any_holds(cypher_spaces, character(at_).code)) {
        at_ += character(at_).size;
      } else {
        return;
      }
    }
  }

  CypherToken next() {
    if (at_ == text_.size()) return {CypherKind::end};
    const char c = text_[at_];
    if (c == '\'' || c == '"') return read_string(c);
    if (c == '`') return read_quoted();
    if (digit(c) || (c == '.' && digit(at(at_ + 1)))) return read_number();
    if (letter(at_) > 0) {
      while (const std::size_t size = letter_or_digit(at_)) at_ += size;
      return {CypherKind::word};
    }
    return read_symbol(c);
  }

  CypherToken read_symbol(char c) {
    for (const std::string_view two : {"<=", ">=", "<>", "=~", "+=", ".."})
      if (text_.substr(at_, 2) == two) {
        at_ += 2;
        return {CypherKind::symbol, two[0], two[1]};
      }
    constexpr std::string_view symbols = "()[]{}<>=+-*/%^.,:;|$";
    if (symbols.find(c) == symbols.npos) throw CypherStop{at_, "no token of Cypher begins like this"};
    ++at_;
    return {CypherKind::symbol, c};
  }

  // 'a' or "a", with the escapes \\ \' \" \b \f \n \r \t \uXXXX \UXXXXXXXX.
  CypherToken read_string(char quote) {
    const std::size_t start = at_++;
    while (at_ < text_.size() && text_[at_] != quote) {
      if (text_[at_] == '\\')
        skip_escape();
      else
        at_ += static_cast<unsigned char>(text_[at_]) < 0x80 ? 1 : character(at_).size;
    }
    if (at_ == text_.size()) throw CypherStop{start, "this string is not closed"};
    ++at_;
    return {CypherKind::string};
  }
  void skip_escape() {
    const char c = at(at_ + 1);
    const std::size_t digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
    constexpr std::string_view escapes = "\\'\"bfnrtBFNRTuU";
    bool ok = c != '\0' && escapes.find(c) != escapes.npos;
    for (std::size_t k = 0; k < digits; ++k) ok = ok && hex_digit(at(at_ + 2 + k));
    if (!ok)
      throw CypherStop{at_, "a string has the escapes \\\\ \\' \\\" \\b \\f \\n \\r \\t \\uXXXX \\UXXXXXXXX only"};
    at_ += 2 + digits;
  }

  CypherToken read_quoted() {
    const std::size_t start = at_++;
    for (;; ++at_) {
      at_ = text_.find('`', at_);
      if (at_ == text_.npos) throw CypherStop{start, "this name in backquotes is not closed"};
      ++at_;
      if (at(at_) != '`') break;  // two stand for one in the name
    }
    for (std::size_t i = start; i < at_;) i += static_cast<unsigned char>(text_[i]) < 0x80 ? 1 : character(i).size;
    if (at_ - start == 2) throw CypherStop{start, "a name in backquotes has at least one character"};
    return {CypherKind::quoted};
  }

  // 1, 0x1F, 0o17, 017, 1.5, .5, 1e9. Of "1..3" only the 1.
  CypherToken read_number() {
    const std::size_t start = at_;
    bool real = false;
    const auto digits = [&](auto is_digit) {
      const std::size_t first = at_;
      while (is_digit(at(at_))) ++at_;
      return at_ > first;
    };
    bool ok = true;
    const char radix = at(at_) == '0' ? upper(at(at_ + 1)) : '\0';
    if (radix == 'X' || radix == 'O') {
      at_ += 2;
      ok = radix == 'X' ? digits(hex_digit) : digits([](char c) { return c >= '0' && c <= '7'; });
    } else {
      digits(digit);
      if (at(at_) == '.' && digit(at(at_ + 1))) real = true, ++at_, digits(digit);
      if (upper(at(at_)) == 'E') {
        real = true;
        ++at_;
        if (at(at_) == '-') ++at_;
        ok = digits(digit);
      }
    }
    if (!ok || letter_or_digit(at_) > 0) throw CypherStop{start, "this number is not well formed"};
    return {real ? CypherKind::real : CypherKind::integer};
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
