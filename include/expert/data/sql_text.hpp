// SQL text -> the same statements without comments, or with keywords in one case. Literals and quoted names stay as
// they are, and so does what PostgreSQL reads.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

// Manifest /training/dataset/augmentation: case_normalization and comment_stripping, on context and answer.
enum class KeywordCase : std::uint8_t { preserve, lower, upper };
struct SqlTextOptions {
  bool comment_stripping = false;
  KeywordCase case_normalization = KeywordCase::preserve;
};

namespace detail {

enum class SqlToken : std::uint8_t { word, quoted, line_comment, block_comment, other };

constexpr bool is_sql_word_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
constexpr bool is_sql_word(char c) { return is_sql_word_start(c) || (c >= '0' && c <= '9') || c == '$'; }
constexpr char upper_ascii(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
constexpr char lower_ascii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Where the literal or name that begins with the quote at text[i] ends. A quote is doubled inside; after E a backslash
// escapes too. What is never closed goes to the end, here and below.
constexpr std::size_t end_of_quoted(std::string_view text, std::size_t i, bool backslash) {
  const char quote = text[i];
  for (++i; i < text.size(); ++i) {
    if (backslash && text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      if (i + 1 == text.size() || text[i + 1] != quote) return i + 1;
      ++i;
    }
  }
  return text.size();
}

// $$...$$ or $tag$...$tag$ at text[i]; i where it is neither.
constexpr std::size_t end_of_dollar_quoted(std::string_view text, std::size_t i) {
  std::size_t tag = i + 1;
  if (tag < text.size() && is_sql_word_start(text[tag]))
    while (tag < text.size() && is_sql_word(text[tag]) && text[tag] != '$') ++tag;
  if (tag >= text.size() || text[tag] != '$') return i;
  const std::string_view mark = text.substr(i, tag + 1 - i);
  const std::size_t end = text.find(mark, tag + 1);
  return end == text.npos ? text.size() : end + mark.size();
}

// Block comments nest in PostgreSQL. One that is never closed is none: i.
constexpr std::size_t end_of_block_comment(std::string_view text, const std::size_t begin) {
  std::size_t depth = 0, i = begin;
  while (i + 1 < text.size()) {
    const std::string_view two = text.substr(i, 2);
    if (two == "/*") {
      ++depth, i += 2;
    } else if (two == "*/") {
      i += 2;
      if (--depth == 0) return i;
    } else {
      ++i;
    }
  }
  return begin;
}

// Calls visit(kind, piece) for the tokens of PostgreSQL's scanner, as far as they matter here; all pieces together are
// the text. Every character that opens no token is a piece of its own.
template <class Visit>
void for_each_sql_token(std::string_view text, Visit visit) {
  bool unclosed = false;  // a block comment was: none that follows can be closed either
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i], next = i + 1 < text.size() ? text[i + 1] : '\0';
    std::size_t end = i + 1;
    SqlToken kind = SqlToken::other;
    if (is_sql_word_start(c)) {
      kind = SqlToken::word;
      while (end < text.size() && is_sql_word(text[end])) ++end;
      if (end == i + 1 && upper_ascii(c) == 'E' && next == '\'') {
        kind = SqlToken::quoted;
        end = end_of_quoted(text, end, true);
      }
    } else if (c == '\'' || c == '"') {
      kind = SqlToken::quoted;
      end = end_of_quoted(text, i, false);
    } else if (c == '-' && next == '-') {
      kind = SqlToken::line_comment;
      end = std::min(text.find('\n', i), text.size());
    } else if (c == '/' && next == '*' && !unclosed) {
      end = end_of_block_comment(text, i);
      unclosed = end == i;
      kind = unclosed ? SqlToken::other : SqlToken::block_comment;
      if (unclosed) end = text.size();
    } else if (c == '$') {
      end = end_of_dollar_quoted(text, i);
      kind = end == i ? SqlToken::other : SqlToken::quoted;
      if (end == i) ++end;
    }
    visit(kind, text.substr(i, end - i));
    i = end;
  }
}

// Words that PostgreSQL reserves, and those that stand beside them in every statement (BY, KEY, VALUES ...). A name
// that is one of the latter changes its case too, which PostgreSQL does not see. Sorted.
inline constexpr std::array<std::string_view, 96> sql_keywords{
    "ALL",     "AND",       "ANY",       "ARRAY",   "AS",        "ASC",        "BETWEEN",    "BY",
    "CASE",    "CAST",      "CHECK",     "COLLATE", "COLUMN",    "CONSTRAINT", "CREATE",     "CROSS",
    "CURRENT", "DEFAULT",   "DELETE",    "DESC",    "DISTINCT",  "DO",         "ELSE",       "END",
    "ESCAPE",  "EXCEPT",    "EXISTS",    "FALSE",   "FETCH",     "FILTER",     "FIRST",      "FOLLOWING",
    "FOR",     "FOREIGN",   "FROM",      "FULL",    "GROUP",     "GROUPING",   "HAVING",     "ILIKE",
    "IN",      "INDEX",     "INNER",     "INSERT",  "INTERSECT", "INTO",       "IS",         "JOIN",
    "KEY",     "LAST",      "LATERAL",   "LEFT",    "LIKE",      "LIMIT",      "NATURAL",    "NOT",
    "NULL",    "NULLS",     "OFFSET",    "ON",      "ONLY",      "OR",         "ORDER",      "OUTER",
    "OVER",    "PARTITION", "PRECEDING", "PRIMARY", "RANGE",     "RECURSIVE",  "REFERENCES", "RETURNING",
    "RIGHT",   "ROLLUP",    "ROW",       "ROWS",    "SELECT",    "SET",        "SETS",       "SIMILAR",
    "SOME",    "SYMMETRIC", "TABLE",     "THEN",    "TO",        "TRUE",       "UNBOUNDED",  "UNION",
    "UNIQUE",  "UPDATE",    "USING",     "VALUES",  "WHEN",      "WHERE",      "WINDOW",     "WITH"};
static_assert(std::is_sorted(sql_keywords.begin(), sql_keywords.end()));

constexpr bool is_sql_keyword(std::string_view word) {
  std::array<char, 16> upper{};
  if (word.size() > upper.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i) upper[i] = upper_ascii(word[i]);
  return std::binary_search(sql_keywords.begin(), sql_keywords.end(), std::string_view(upper.data(), word.size()));
}

}  // namespace detail

// Without comments, and without the blanks and lines that held nothing else. A text of comments only stays as it is.
inline std::string strip_sql_comments(std::string_view text) {
  std::string out;
  bool stripped = false, skip_blanks = false, skip_line_end = false;
  const auto drop_blanks = [&] { out.resize(out.find_last_not_of(" \t\r") + 1); };
  detail::for_each_sql_token(text, [&](detail::SqlToken kind, std::string_view piece) {
    if (kind == detail::SqlToken::line_comment || kind == detail::SqlToken::block_comment) {
      stripped = true;
      if (kind == detail::SqlToken::line_comment) drop_blanks();
      const bool at_line_start = out.empty() || out.back() == '\n';
      skip_line_end = kind == detail::SqlToken::line_comment && at_line_start;
      if (!at_line_start && kind == detail::SqlToken::block_comment && out.back() != ' ') out += ' ';
      skip_blanks = true;
      return;
    }
    const bool blank = piece == " " || piece == "\t" || piece == "\r";
    if (blank && skip_blanks) return;
    if (piece == "\n" && skip_blanks) drop_blanks();
    if (piece != "\n" || !skip_line_end) out += piece;
    skip_blanks = skip_line_end = false;
  });
  if (!stripped) return std::string(text);
  const std::size_t first = out.find_first_not_of(" \t\r\n");
  if (first == out.npos) return std::string(text);
  return out.substr(first, out.find_last_not_of(" \t\r\n") + 1 - first);
}

inline std::string with_keyword_case(std::string_view text, KeywordCase letters) {
  std::string out;
  out.reserve(text.size());
  detail::for_each_sql_token(text, [&](detail::SqlToken kind, std::string_view piece) {
    const bool changes = kind == detail::SqlToken::word && detail::is_sql_keyword(piece);
    if (!changes || letters == KeywordCase::preserve) {
      out += piece;
    } else {
      for (const char c : piece) out += letters == KeywordCase::upper ? detail::upper_ascii(c) : detail::lower_ascii(c);
    }
  });
  return out;
}

inline std::string normalize_sql(std::string text, const SqlTextOptions& options) {
  if (options.comment_stripping) text = strip_sql_comments(text);
  if (options.case_normalization != KeywordCase::preserve) text = with_keyword_case(text, options.case_normalization);
  return text;
}

}  // namespace v0
}  // namespace expert
