// A SELECT statement -> the same statement with aliases for its tables: FROM users -> FROM users AS t1, users.name ->
// t1.name. Whatever is not surely the same statement stays as it is.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/join.hpp"
#include "expert/data/sql_text.hpp"

namespace expert {
inline namespace v0 {
namespace detail {

// Reads a statement token by token into its scopes: one for each SELECT, with the tables of its FROM. Any form that it
// does not know to be safe makes `sure()` false: another statement than SELECT, LATERAL, FOR UPDATE, a join in
// parentheses, hints, arrays, names in backquotes, literals between dollars or with a backslash (MySQL escapes with
// it).
class SqlScopes {
 public:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  static constexpr std::size_t longest_text = std::size_t{1} << 14;

  struct Token {
    std::size_t at = 0;  // in the text
    std::string_view text;
    std::size_t scope = none;
    bool is_item = false;  // stands for a table of FROM
  };
  struct Range {
    std::string table, name;   // name: what the scope calls it by, the alias where there is one; both folded
    std::size_t token = none;  // of a table that has neither alias nor schema
  };
  struct Scope {
    std::size_t parent = none;  // whose names it sees too
    std::size_t from = none;    // the token FROM
    std::vector<Range> ranges;
  };

  explicit SqlScopes(std::string_view text) {
    if (text.size() > longest_text) return;
    sure_ = true;
    std::size_t at = 0;
    for_each_sql_token(text, [&](SqlToken kind, std::string_view piece) {
      add(kind, piece, at);
      at += piece.size();
    });
    const bool is_query = !tokens_.empty() && (is("SELECT", 0) || is("WITH", 0));
    sure_ = sure_ && is_query;
    if (sure_) read();
  }

  bool sure() const { return sure_; }
  const std::vector<Token>& tokens() const { return tokens_; }
  const std::vector<Scope>& scopes() const { return scopes_; }
  const std::vector<std::string>& ctes() const { return ctes_; }  // names that WITH defines

  // A name as PostgreSQL reads it: "Users" stays, Users is users. Empty for what is no name.
  static std::string name_of(std::string_view token) {
    std::string name;
    if (token.front() == '"') {
      for (std::size_t i = 1; i + 1 < token.size(); ++i) {
        name += token[i];
        if (token[i] == '"') ++i;
      }
    } else if (is_sql_word_start(token.front())) {
      for (const char c : token) name += lower_ascii(c);
    }
    return name;
  }
  bool is(std::string_view keyword, std::size_t token) const {
    if (token >= tokens_.size() || tokens_[token].text.size() != keyword.size()) return false;
    for (std::size_t i = 0; i < keyword.size(); ++i)
      if (upper_ascii(tokens_[token].text[i]) != keyword[i]) return false;
    return true;
  }
  bool is_name(std::size_t token) const {
    return token < tokens_.size() && !name_of(tokens_[token].text).empty() &&
           !(tokens_[token].text.front() != '"' && is_sql_keyword(tokens_[token].text));
  }

 private:
  // A pair of parentheses, or the whole text.
  struct Level {
    bool is_query = false;      // SELECT or WITH opens it; else it belongs to the scope around it
    std::size_t parent = none;  // scope whose names its SELECTs see
    std::size_t scope = none;   // of the tokens at this place
    bool has_from = false, in_from = false, is_compound = false;
  };

  void add(SqlToken kind, std::string_view piece, std::size_t at) {
    const char first = piece.front();
    if (first == ' ' || first == '\t' || first == '\n' || first == '\r' || first == '\f') return;
    if (kind == SqlToken::line_comment || kind == SqlToken::block_comment) {
      const bool is_hint = piece.starts_with("/*!") || piece.starts_with("/*+");
      const bool nests = piece.find("/*", 2) != piece.npos;
      const bool is_minus = kind == SqlToken::line_comment && piece.size() > 2 && piece[2] != ' ' && piece[2] != '\t';
      sure_ = sure_ && !is_hint && !nests && !is_minus;
      return;
    }
    const bool is_odd = kind == SqlToken::other && (first == '`' || first == '[' || first == '#' || first == '\\');
    const bool is_quoted = kind == SqlToken::quoted;
    const bool escapes = is_quoted && (first == '$' || piece.find('\\') != piece.npos);
    const bool is_open = is_quoted && std::count(piece.begin(), piece.end(), first == '"' ? '"' : '\'') % 2 == 1;
    const bool follows_ampersand = first == '"' && !tokens_.empty() && tokens_.back().text == "&";  // U&"..."
    sure_ = sure_ && !is_odd && !escapes && !is_open && !follows_ampersand;
    tokens_.push_back({at, piece});
  }

  void read() {
    levels_.push_back({.is_query = true});
    for (at_ = 0; at_ < tokens_.size() && sure_;) {
      tokens_[at_].scope = levels_.back().scope;
      const std::string_view text = tokens_[at_].text;
      if (text == "(") {
        open();
      } else if (text == ")") {
        if (levels_.size() == 1) sure_ = false;
        levels_.pop_back();
        ++at_;
      } else if (text == ";") {
        if (at_ + 1 != tokens_.size()) sure_ = false;  // more than one statement
        ++at_;
      } else if (text == ",") {
        const bool is_list_of_tables = levels_.back().is_query && levels_.back().in_from;
        ++at_;
        if (is_list_of_tables) read_item();
      } else {
        read_word();
      }
    }
    sure_ = sure_ && levels_.size() == 1;
  }

  void read_word() {
    static constexpr std::string_view unsafe[] = {"INSERT",  "UPDATE", "DELETE", "MERGE", "INTO",
                                                  "LATERAL", "TABLE",  "FOR",    "VALUES"};
    static constexpr std::string_view compounds[] = {"UNION", "INTERSECT", "EXCEPT"};
    static constexpr std::string_view after_from[] = {"WHERE", "GROUP", "HAVING", "WINDOW", "LIMIT", "OFFSET", "FETCH"};
    const std::size_t here = at_++;
    const bool is_word = is_sql_word_start(tokens_[here].text.front());
    if (!is_word || (here > 0 && tokens_[here - 1].text == ".")) return;
    if (is("AS", here)) return note_cte(here);
    Level& level = levels_.back();
    if (!level.is_query) {  // FROM and FOR are words of functions here: EXTRACT(YEAR FROM x), SUBSTRING(x FROM 1 FOR 2)
      if (is("SELECT", here) || is("LATERAL", here)) sure_ = false;
      return;
    }
    for (const std::string_view word : unsafe)
      if (is(word, here)) sure_ = false;
    for (const std::string_view word : after_from)
      if (is(word, here)) level.in_from = false;
    for (const std::string_view word : compounds)
      if (is(word, here)) {
        level.is_compound = true;
        level.in_from = level.has_from = false;
        level.scope = none;
      }
    if (is("ORDER", here)) {
      level.in_from = false;
      if (level.is_compound) level.scope = none;  // of the whole compound
    }
    if (is("SELECT", here)) {
      if (level.scope != none) sure_ = false;
      level.scope = scopes_.size();
      scopes_.push_back({.parent = level.parent, .ranges = {}});
    }
    const bool is_comparison = is("FROM", here) && is("DISTINCT", here - 1);  // IS DISTINCT FROM
    if (is("FROM", here) && !is_comparison) {
      if (level.scope == none || level.has_from) sure_ = false;
      if (!sure_) return;
      level.has_from = level.in_from = true;
      scopes_[level.scope].from = here;
      read_item();
    } else if (is("JOIN", here)) {
      if (!level.in_from) sure_ = false;
      if (sure_) read_item();
    }
  }

  // name AS (...), name (columns) AS [NOT] MATERIALIZED (...): a name of WITH. That of a WINDOW looks alike and does no
  // harm.
  void note_cte(std::size_t as) {
    std::size_t next = as + 1, name = as;
    if (is("NOT", next)) ++next;
    if (is("MATERIALIZED", next)) ++next;
    if (next >= tokens_.size() || tokens_[next].text != "(" || as == 0) return;
    if (tokens_[--name].text == ")")
      while (name > 0 && tokens_[name--].text != "(") continue;
    ctes_.push_back(name_of(tokens_[name].text));
    if (ctes_.back().empty()) sure_ = false;
  }

  // A query of WITH, or one beside UNION, sees what the query around it sees.
  void open() {
    const Level around = levels_.back();
    const bool is_query = is("SELECT", at_ + 1) || is("WITH", at_ + 1);
    if (is_query)
      levels_.push_back({.is_query = true, .parent = around.scope != none ? around.scope : around.parent});
    else
      levels_.push_back({.parent = around.parent, .scope = around.scope});
    ++at_;
  }

  // One table of FROM, at_ on its first token. Of a subquery only the alias is read here; it sees none of its
  // neighbours.
  void read_item() {
    const std::size_t scope = levels_.back().scope;
    if (at_ < tokens_.size() && tokens_[at_].text == "(") {
      const bool is_query = is("SELECT", at_ + 1) || is("WITH", at_ + 1);
      const std::size_t end = is_query ? matching(at_) : none;
      if (end == none) return void(sure_ = false);
      ++at_;
      levels_.push_back({.is_query = true, .parent = scopes_[scope].parent});
      add_range(scope, {}, end + 1);
      return;
    }
    std::size_t name = at_, after = at_ + 1;
    while (is_name(name) && after < tokens_.size() && tokens_[after].text == ".") name = after + 1, after += 2;
    const bool is_function = after < tokens_.size() && tokens_[after].text == "(";
    if (!is_name(name) || is_function) return void(sure_ = false);
    for (std::size_t i = at_; i < after; ++i) tokens_[i].is_item = true;
    const std::string table = name_of(tokens_[name].text);
    add_range(scope, {table, table, name == at_ ? name : none}, after);
    at_ = after;
  }

  // Reads [AS] alias [(columns)] from `after` on, and wants to see what may follow a table.
  void add_range(std::size_t scope, Range range, std::size_t after) {
    const bool has_as = is("AS", after);
    if (has_as) ++after;
    if (has_as || !ends_item(after)) {
      if (!is_name(after)) return void(sure_ = false);
      range.name = name_of(tokens_[after].text);
      range.token = none;
      tokens_[after++].is_item = true;
      const bool has_columns = after < tokens_.size() && tokens_[after].text == "(";
      if (has_columns) after = matching(after) + 1;
    }
    sure_ = sure_ && ends_item(after);
    scopes_[scope].ranges.push_back(std::move(range));
  }
  bool ends_item(std::size_t token) const {
    static constexpr std::string_view words[] = {"JOIN",  "INNER",  "LEFT",  "RIGHT",  "FULL",   "CROSS",    "NATURAL",
                                                 "ON",    "USING",  "WHERE", "GROUP",  "HAVING", "ORDER",    "LIMIT",
                                                 "UNION", "OFFSET", "FETCH", "EXCEPT", "WINDOW", "INTERSECT"};
    if (token >= tokens_.size()) return true;
    const std::string_view text = tokens_[token].text;
    if (text == ")" || text == "," || text == ";") return true;
    for (const std::string_view word : words)
      if (is(word, token)) return true;
    return false;
  }
  std::size_t matching(std::size_t open) const {
    std::size_t depth = 0;
    for (std::size_t i = open; i < tokens_.size(); ++i) {
      if (tokens_[i].text == "(") ++depth;
      if (tokens_[i].text == ")" && --depth == 0) return i;
    }
    return none;
  }

  bool sure_ = false;
  std::vector<Token> tokens_;  // without blanks and comments
  std::vector<Scope> scopes_;
  std::vector<std::string> ctes_;
  std::vector<Level> levels_;
  std::size_t at_ = 0;
};

// The places of a text that change: `length` bytes at `at` become `text`.
struct SqlEdit {
  std::size_t at, length;
  std::string text;
};

inline std::string with_edits(std::string_view text, const std::vector<SqlEdit>& edits) {
  std::string out;
  std::size_t done = 0;
  for (const SqlEdit& edit : edits) {
    append(out, {text.substr(done, edit.at - done), edit.text});
    done = edit.at + edit.length;
  }
  return out += text.substr(done);
}

// Gives aliases to the tables of a statement that was read.
class SqlAliases {
 public:
  SqlAliases(std::string_view text, const SqlScopes& read) : text_(text), read_(read) {
    lower_text_ = lower(text);
    for (const SqlScopes::Token& token : read.tokens()) names_.push_back(lower(SqlScopes::name_of(token.text)));
  }

  // In the order of the text; empty where there is no table to rename, or doubt.
  std::vector<SqlEdit> edits() {
    choose_tables();
    if (!chosen_.empty())
      for (std::size_t i = 0; i < names_.size(); ++i)
        if (!edit_token(i)) return {};
    return std::move(edits_);
  }

 private:
  struct Chosen {
    std::size_t scope, token;
    std::string table, alias;
  };
  static std::string lower(std::string_view text) {
    std::string out;
    for (const char c : text) out += lower_ascii(c);
    return out;
  }

  // Those that FROM has once, without alias or schema, and that WITH does not define.
  void choose_tables() {
    std::size_t number = 0;
    for (std::size_t s = 0; s < read_.scopes().size(); ++s)
      for (const SqlScopes::Range& range : read_.scopes()[s].ranges) {
        if (range.token == SqlScopes::none || is_cte(range.table)) continue;
        int times = 0;
        for (const SqlScopes::Range& other : read_.scopes()[s].ranges)
          times += lower(other.table) == lower(range.table) || lower(other.name) == lower(range.table);
        if (times != 1) continue;
        std::string alias;
        do {
          alias = joined({"t", ++number});
        } while (lower_text_.find(alias) != lower_text_.npos);
        chosen_.push_back({s, range.token, lower(range.table), std::move(alias)});
      }
  }
  bool is_cte(const std::string& table) const {
    for (const std::string& name : read_.ctes())
      if (lower(name) == lower(table)) return true;
    return false;
  }
  bool is(std::string_view text, std::size_t token) const {
    return token < read_.tokens().size() && read_.tokens()[token].text == text;
  }

  // False where the token might mean a renamed table in a way that is not known to be safe.
  bool edit_token(std::size_t i) {
    const SqlScopes::Token& token = read_.tokens()[i];
    if (token.is_item) return add_alias(i);
    const bool quotes = token.text.front() == '"';
    bool concerns = false;
    for (const Chosen& table : chosen_) {
      concerns = concerns || names_[i] == table.table;
      if (quotes && names_[i] != table.table && names_[i].find(table.table) != std::string::npos) return false;
    }
    if (!concerns) return true;
    const bool after_dot = i > 0 && is(".", i - 1), before_dot = is(".", i + 1), is_call = is("(", i + 3);
    if (after_dot && !before_dot) return true;              // a column
    if (after_dot || !before_dot || is_call) return false;  // a name of three parts; a whole row; a function
    const std::size_t scope = scope_of(token.scope, names_[i]);
    if (scope == SqlScopes::none) return false;
    for (const Chosen& table : chosen_)
      if (table.scope == scope && table.table == names_[i]) {
        if (SqlScopes::name_of(token.text) != SqlScopes::name_of(read_.tokens()[table.token].text)) return false;
        edits_.push_back({token.at, token.text.size(), table.alias});
      }
    return true;
  }
  bool add_alias(std::size_t token) {
    for (const Chosen& table : chosen_)
      if (table.token == token) {
        const SqlScopes::Token& name = read_.tokens()[token];
        const bool small = read_.tokens()[read_.scopes()[table.scope].from].text.front() == 'f';
        edits_.push_back({name.at + name.text.size(), 0, joined({small ? " as " : " AS ", table.alias})});
      }
    return true;
  }
  // The innermost scope in which something goes by this name.
  std::size_t scope_of(std::size_t scope, const std::string& name) const {
    for (; scope != SqlScopes::none; scope = read_.scopes()[scope].parent)
      for (const SqlScopes::Range& range : read_.scopes()[scope].ranges)
        if (lower(range.name) == name) return scope;
    return SqlScopes::none;
  }

  std::string_view text_;
  const SqlScopes& read_;
  std::string lower_text_;
  std::vector<std::string> names_;  // of the tokens, in small letters; empty: no name
  std::vector<Chosen> chosen_;
  std::vector<SqlEdit> edits_;
};

}  // namespace detail

// Every table that FROM and JOIN of its SELECT have once and without alias gets one that occurs nowhere in the text,
// and names before a dot follow. The text as it is where it is no single SELECT, or where a name might mean something
// else: a row as a whole, a function, a column of three parts. Linear in the text but for the number of tables.
inline std::string with_table_aliases(std::string_view text) {
  const detail::SqlScopes scopes(text);
  if (!scopes.sure()) return std::string(text);
  return detail::with_edits(text, detail::SqlAliases(text, scopes).edits());
}

}  // namespace v0
}  // namespace expert
