// GrammarSyntax + the schema of a database -> the same grammar with the names of that schema and no others.
//
// A grammar that can be narrowed says where names stand, by rules of these names:
//   SQL     table-name, new-table (without a database), qualifier (before a dot), column-name, column-reference (with
//   or
//           without a qualifier), alias-name, bare-alias-name (without AS), output-name (of a column of the result)
//   Cypher  label, relationship-type, property, member (behind a dot)
// Each is replaced by a choice of names that it accepted before, so every sentence of the narrowed grammar is one of
// the grammar. What a context-free grammar cannot say is left to others: whether an alias is declared, and of which
// table.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/grammar/automaton.hpp"
#include "expert/grammar/graph_schema.hpp"
#include "expert/grammar/matcher.hpp"
#include "expert/grammar/sql_schema.hpp"
#include "expert/grammar/syntax.hpp"
#include "expert/grammar/token_masks.hpp"
#include "expert/grammar/vocabulary.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode grammar_not_bindable{350, "a grammar does not say where the names of a schema stand"};
inline constexpr ErrorCode schema_name_impossible{351, "a grammar has no way to write a name of the schema"};

namespace detail {

// Which texts a rule of a grammar derives.
class RuleAcceptor {
 public:
  RuleAcceptor(GrammarSyntax syntax, std::int32_t rule, const Limits& limits)
      : automaton_(rooted(std::move(syntax), rule), limits),
        no_tokens_(1, end_, [](std::int32_t) { return std::string_view(); }),
        masks_(automaton_, no_tokens_, best_isa(), limits) {}
  RuleAcceptor(const RuleAcceptor&) = delete;
  RuleAcceptor& operator=(const RuleAcceptor&) = delete;

  bool operator()(std::string_view text) {
    GrammarMatcher matcher(masks_);
    return matcher.accept_text(text) && matcher.is_accepting();
  }

 private:
  static GrammarSyntax rooted(GrammarSyntax syntax, std::int32_t rule) {
    syntax.root = rule;
    return syntax;
  }
  static constexpr std::int32_t end_[] = {0};
  GrammarAutomaton automaton_;
  Vocabulary no_tokens_;
  TokenMasks masks_;
};

}  // namespace detail

// One grammar, bound to any number of schemas.
class NameBinder {
 public:
  // Throws E350, and what GrammarAutomaton throws.
  explicit NameBinder(GrammarSyntax grammar, const Limits& limits = default_limits)
      : grammar_(std::move(grammar)),
        is_sql_(find("table-name") >= 0),
        name_(grammar_, require(is_sql_ ? "column-name" : "property"), limits) {
    for (const char* rule : {"qualifier", "column-reference", "alias-name", "output-name"})
      if (is_sql_) require(rule);
    for (const char* rule : {"label", "relationship-type", "member"})
      if (!is_sql_) require(rule);
  }

  // True: bind() reads CREATE TABLE statements; false: the schema of a graph.
  bool is_sql() const { return is_sql_; }

  // The text of a schema as the grammar's language has it. Throws E349, E351.
  GrammarSyntax bind(std::string_view schema, const std::string& file, const Limits& limits = default_limits) {
    return is_sql_ ? bind(read_sql_schema(schema, file, limits)) : bind(read_graph_schema(schema, file, limits));
  }

  // An alias is a letter and up to two digits (t1, T2, u): the name of a table in a query, of a common table, of a
  // result, and it stands wherever the name of a table or a column may. A column behind a table's own name is one of
  // that table; behind an alias it is any.
  GrammarSyntax bind(const SqlSchema& schema) {
    GrammarSyntax out = grammar_;
    const std::int32_t alias = alias_node(out);
    std::vector<std::int32_t> tables{alias}, columns{alias}, references;
    std::vector<std::string> seen;
    for (const SqlTable& table : schema.tables) {
      const std::int32_t name = spell(out, table.name), dot = out.text(".");
      std::vector<std::int32_t> own;
      for (const SchemaName& column : table.columns) {
        own.push_back(spell(out, column));
        if (add_once(seen, column)) columns.push_back(own.back());
      }
      tables.push_back(name);
      if (!own.empty()) references.push_back(out.sequence({name, dot, out.choice(std::move(own))}));
    }
    const std::int32_t column = out.choice(std::move(columns)), table = out.choice(std::move(tables));
    references.push_back(column);
    references.push_back(out.sequence({alias, out.text("."), column}));
    define(out, "table-name", table);
    define(out, "new-table", table);
    define(out, "qualifier", table);
    define(out, "column-name", column);
    define(out, "column-reference", out.choice(std::move(references)));
    define(out, "alias-name", alias);
    define(out, "bare-alias-name", alias);
    define(out, "output-name", column);
    return out;
  }

  // Variables stay free: they are the aliases of Cypher, and stand where no label, type or property does. A member may
  // also be a part of a date, a duration or a point.
  GrammarSyntax bind(const GraphSchema& schema) {
    GrammarSyntax out = grammar_;
    const auto spell_all = [&](const std::vector<SchemaName>& names) {
      std::vector<std::int32_t> items;
      for (const SchemaName& name : names) items.push_back(spell(out, name));
      return items;
    };
    define(out, "label", out.choice(spell_all(schema.labels)));
    define(out, "relationship-type", out.choice(spell_all(schema.relationship_types)));
    std::vector<std::int32_t> properties = spell_all(schema.properties), members = properties;
    for (const char* part :
         {"year",         "month",       "week",  "day",    "hour", "minute",   "second",   "millisecond",
          "dayOfWeek",    "quarter",     "years", "months", "days", "hours",    "minutes",  "seconds",
          "epochSeconds", "epochMillis", "x",     "y",      "z",    "latitude", "longitude"})
      members.push_back(out.text(part));
    define(out, "property", out.choice(std::move(properties)));
    define(out, "member", out.choice(std::move(members)));
    return out;
  }

 private:
  std::int32_t find(std::string_view name) const {
    for (std::size_t i = 0; i < grammar_.rules.size(); ++i)
      if (grammar_.rules[i].name == name) return static_cast<std::int32_t>(i);
    return -1;
  }
  std::int32_t require(const char* name) const {
    const std::int32_t rule = find(name);
    if (rule < 0)
      throw Error(grammar_not_bindable, {.file = grammar_.file,
                                         .where = {},
                                         .expected = joined({"a rule ", name}),
                                         .got = {},
                                         .fix = "Give names rules of their own, or generate without --schema-bound"});
    return rule;
  }
  // Where the grammar has such a rule: not every dialect needs all of them.
  void define(GrammarSyntax& out, std::string_view name, std::int32_t node) const {
    if (const std::int32_t rule = find(name); rule >= 0) out.rules[static_cast<std::size_t>(rule)].node = node;
  }

  static bool add_once(std::vector<std::string>& seen, const SchemaName& name) {
    for (const std::string& known : seen)
      if (known == name.text) return false;
    seen.push_back(name.text);
    return true;
  }
  static std::int32_t alias_node(GrammarSyntax& out) {
    const std::int32_t letter = out.chars({{'A', 'Z'}, {'a', 'z'}}), digit = out.chars({{'0', '9'}});
    return out.sequence({letter, out.repeat(digit, 0, 2)});
  }

  // A word in any case where the schema has it without quotes and SQL folds it; else, and where the word is reserved,
  // in the quotes that the grammar knows.
  std::int32_t spell(GrammarSyntax& out, const SchemaName& name) {
    const bool folds = is_sql_ && (!name.quoted || name.text == lower(name.text));
    if ((folds || !is_sql_) && name_(name.text)) return folds ? in_any_case(out, name.text) : out.text(name.text);
    for (const char quote : {'"', '`'})
      if (std::string text = in_quotes(name.text, quote); name_(text)) return out.text(text);
    throw Error(schema_name_impossible, {.file = grammar_.file,
                                         .where = {},
                                         .expected = "a name as the grammar has them",
                                         .got = expert::quoted(name.text, 100),
                                         .fix = "Rename it, or generate without --schema-bound"});
  }
  static std::string lower(std::string text) {
    for (char& c : text)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
  }
  static std::string in_quotes(const std::string& text, char quote) {
    std::string out(1, quote);
    for (const char c : text) out.append(c == quote ? 2 : 1, c);
    return out + quote;
  }
  static std::int32_t in_any_case(GrammarSyntax& out, const std::string& text) {
    std::vector<std::int32_t> items;
    for (const char c : lower(text)) {
      const auto code = static_cast<std::uint32_t>(static_cast<unsigned char>(c));
      const bool letter = c >= 'a' && c <= 'z';
      items.push_back(letter ? out.chars({{code - 'a' + 'A', code - 'a' + 'A'}, {code, code}})
                             : out.text(std::string_view(&c, 1)));
    }
    return out.sequence(std::move(items));
  }

  GrammarSyntax grammar_;
  bool is_sql_;
  detail::RuleAcceptor name_;
};

}  // namespace v0
}  // namespace expert
