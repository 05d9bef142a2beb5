// Text -> whether it is Cypher: openCypher 9, reading and writing clauses, and of Neo4j 5 the subqueries CALL {},
// EXISTS {}, COUNT {} and COLLECT {}, FOREACH and reduce().
//
// Syntax only: undefined variables, unknown labels, types and arities pass. What openCypher 9 reserves (ORDER, END,
// ...) is no variable. Not in: indexes and constraints, LOAD CSV, quantified path patterns, WHERE inside of patterns,
// and label expressions with | & !.
//
// Recursive descent over a list of tokens, each of which is read once, with a lookahead of a few tokens: linear time.
// What begins a parenthesis or a bracket is often both an expression and a pattern; it is read as both at once (Cover),
// until a token decides. Nesting is bounded, so the stack is, too.
#pragma once
#include <cstddef>
#include <string_view>

#include "expert/core/join.hpp"
#include "expert/grammar/cypher_cursor.hpp"
#include "expert/grammar/verdict.hpp"

namespace expert {
inline namespace v0 {

inline constexpr std::size_t cypher_max_bytes = std::size_t{1} << 20;

namespace detail {

class CypherParser : public CypherCursor {
 public:
  using CypherCursor::CypherCursor;

  // Throws CypherStop at the first token that does not fit.
  void parse() {
    query(Scope::statement);
    take(';');
    if (here().kind != CypherKind::end) fail("a clause or the end of the text");
  }

 private:
  enum class Scope { statement, call, predicate };  // predicate: in EXISTS {} and COUNT {}, where RETURN may be absent
  enum class Begun { nothing, atom, labelled };     // how much of an expression has been read before
  struct Cover {
    bool node, expression;  // what the parenthesis just read may be
  };

  // Returns whether it returns rows.
  bool query(Scope scope) {
    const Nested nested(*this);
    for (;;) {
      const bool returns = single_query(scope);
      if (!take_word("UNION")) return returns;
      take_word("ALL");
    }
  }

  bool single_query(Scope scope) {
    const std::size_t start = at_;
    bool wrote = false, may_end = false, standalone = false;
    for (;;) {
      if (take_word("RETURN")) return projection(), true;
      if (take_word("WITH")) {
        projection();
        where();
        wrote = may_end = false;
      } else if (reads_next()) {
        if (wrote) fail("WITH between a writing and a reading clause");
        const bool is_call = is_word(0, "CALL");
        may_end = scope == Scope::predicate;
        if (!is_call) reading_clause();
        if (is_call) may_end |= call(at_ == start && scope == Scope::statement, standalone);
        if (standalone) break;
      } else if (writing_clause()) {
        wrote = may_end = true;
      } else {
        break;
      }
    }
    if (at_ == start) fail("a clause");
    if (!may_end) fail("a clause, a query ends with RETURN or with a writing clause");
    return false;
  }

  bool reads_next() const {
    return is_word(0, "MATCH") || is_word(0, "OPTIONAL") || is_word(0, "UNWIND") || is_word(0, "CALL");
  }
  void reading_clause() {
    if (take_word("UNWIND")) {
      expression();
      expect_word("AS");
      return variable();
    }
    take_word("OPTIONAL");
    expect_word("MATCH");
    pattern();
    where();
  }

  // Returns whether a query may end behind this clause. `first`: it is the first clause of the statement; standalone
  // is set where it must be the only one, because it leaves out its arguments or yields *.
  bool call(bool first, bool& standalone) {
    expect_word("CALL");
    if (is_symbol(0, '{')) return call_subquery();
    schema_name("a procedure or a subquery");
    while (take('.')) schema_name("a procedure's name");
    const bool has_arguments = is_symbol(0, '(');
    if (has_arguments) arguments();
    if (!has_arguments && !first) fail("the procedure's arguments in parentheses");
    standalone = !has_arguments;
    if (take_word("YIELD")) {
      if (first && take('*'))
        standalone = true;
      else
        yield_items();
    }
    const bool last = here().kind == Kind::end || is_symbol(0, ';');
    if (standalone && !last)
      fail("the end of the text behind a procedure that is called without arguments or with YIELD *");
    return first && last;
  }
  void yield_items() {
    do {
      variable();
      if (take_word("AS")) variable();
    } while (take(','));
    where();
  }
  // Ends a query where it returns nothing.
  bool call_subquery() {
    expect('{');
    const bool returns = query(Scope::call);
    expect('}');
    if (!take_word("IN")) return !returns;
    expect_word("TRANSACTIONS");
    if (take_word("OF")) {
      expression();
      if (!take_word("ROWS")) expect_word("ROW");
    }
    return !returns;
  }

  bool writing_clause() {
    if (take_word("CREATE")) return pattern(), true;
    if (take_word("MERGE")) return merge(), true;
    if (take_word("SET")) return set_items(), true;
    if (take_word("REMOVE")) return remove_items(), true;
    if (take_word("FOREACH")) return for_each(), true;
    if (is_word(0, "DETACH") || is_word(0, "DELETE")) {
      take_word("DETACH");
      expect_word("DELETE");
      return expressions(), true;
    }
    return false;
  }
  void merge() {
    pattern_part();
    while (take_word("ON")) {
      if (!take_word("MATCH")) expect_word("CREATE");
      expect_word("SET");
      set_items();
    }
  }
  void set_items() {
    do {
      const bool property = variable_or_property();
      if (!property && is_symbol(0, ':')) {
        labels();
      } else {
        if (property || !take('+', '=')) expect('=');
        expression();
      }
    } while (take(','));
  }
  void remove_items() {
    do {
      if (variable_or_property()) continue;
      if (!is_symbol(0, ':')) fail("a label or a property");
      labels();
    } while (take(','));
  }
  // n, or n.name or (expression).name: true. What is set or removed.
  bool variable_or_property() {
    const bool any_expression = take('(');
    if (any_expression) {
      expression();
      expect(')');
    } else {
      variable();
    }
    bool property = any_expression;
    if (any_expression && !is_symbol(0, '.')) fail("a property, \".\"");
    for (; take('.'); property = true) schema_name("a property");
    return property;
  }
  void for_each() {
    const Nested nested(*this);
    expect('(');
    variable();
    expect_word("IN");
    expression();
    expect('|');
    if (!writing_clause()) fail("a writing clause");
    while (writing_clause()) continue;
    expect(')');
  }

  // Behind RETURN and WITH, up to LIMIT.
  void projection() {
    take_word("DISTINCT");
    bool more = true;
    if (take('*')) more = take(',');
    while (more) {
      expression();
      if (take_word("AS")) variable();
      more = take(',');
    }
    if (take_word("ORDER")) order();
    if (take_word("SKIP")) expression();
    if (take_word("LIMIT")) expression();
  }
  void order() {
    expect_word("BY");
    do {
      expression();
      for (const std::string_view way : {"ASC", "ASCENDING", "DESC", "DESCENDING"})
        if (take_word(way)) break;
    } while (take(','));
  }

  // Patterns.
  void pattern() {
    do pattern_part();
    while (take(','));
  }
  void pattern_part() {
    if (is_name(0) && is_symbol(1, '=')) advance(2);
    const bool shortest = is_word(0, "SHORTESTPATH") || is_word(0, "ALLSHORTESTPATHS");
    if (shortest) advance();
    if (!shortest) return pattern_element();
    expect('(');
    pattern_element();
    expect(')');
  }
  void pattern_element() {
    const Nested nested(*this);
    if (is_symbol(0, '(') && is_symbol(1, '(')) {
      advance();
      pattern_element();
      return expect(')');
    }
    node();
    while (is_one_of(0, "<-")) {
      relationship();
      node();
    }
  }
  void node() {
    if (!is_symbol(0, '(')) fail("a node, \"(\"");
    advance();
    if (is_name(0)) advance();
    labels();
    properties();
    expect(')');
  }
  void properties() {
    if (is_symbol(0, '{')) return map();
    if (is_symbol(0, '$')) parameter();
  }
  // Returns whether it is -- or <--, which could be two signs in an expression.
  bool relationship() {
    take('<');
    expect('-');
    const bool details = is_symbol(0, '[');
    if (details) relationship_details();
    expect('-');
    return !take('>') && !details;
  }
  void relationship_details() {
    expect('[');
    if (is_name(0)) advance();
    if (take(':')) {
      schema_name("a relationship type");
      while (take('|')) {
        take(':');
        schema_name("a relationship type");
      }
    }
    if (take('*')) {
      if (here().kind == Kind::integer) advance();
      if (take('.', '.') && here().kind == Kind::integer) advance();
    }
    properties();
    expect(']');
  }

  // Expressions. All operators are read in one loop: which binds tighter decides no validity, but that NOT stands only
  // where a whole comparison may begin, and that no arithmetic follows IS NULL.

  // Returns whether it is a pattern alone, which may begin a pattern comprehension.
  bool expression(Begun begun = Begun::nothing) {
    const Nested nested(*this);
    bool only_pattern = begun == Begun::nothing, may_negate = only_pattern;
    for (;; begun = Begun::nothing) {
      bool is_pattern = false;
      if (begun == Begun::nothing) {
        while (may_negate && take_word("NOT")) only_pattern = false;
        while (take('+') || take('-')) only_pattern = false;
        is_pattern = atom();
      }
      if (begun != Begun::labelled && postfix()) is_pattern = false;
      only_pattern = only_pattern && is_pattern;
      const bool was_tested = null_tests();
      if (!binary_operator(was_tested, may_negate)) return only_pattern && !was_tested;
      only_pattern = false;
    }
  }
  void expressions() {
    do expression();
    while (take(','));
  }

  bool null_tests() {
    bool any = false;
    for (; take_word("IS"); any = true) {
      take_word("NOT");
      expect_word("NULL");
    }
    return any;
  }
  bool binary_operator(bool was_tested, bool& may_negate) {
    may_negate = take_word("AND") || take_word("OR") || take_word("XOR");
    if (may_negate) return true;
    if (is_word(0, "STARTS") || is_word(0, "ENDS")) {
      advance();
      expect_word("WITH");
      return true;
    }
    if (take_word("IN") || take_word("CONTAINS") || take('=', '~') || take('<', '=') || take('>', '=') ||
        take('<', '>'))
      return true;
    if (!is_one_of(0, was_tested ? "=<>" : "=<>+-*/%^")) return false;
    advance();
    return true;
  }

  bool where() { return take_word("WHERE") && (expression(), true); }

  // .name, [i], [a..b] and, at the end, :Label. Returns whether there was any.
  bool postfix() {
    const std::size_t start = at_;
    for (;;) {
      if (take('.'))
        schema_name("a property");
      else if (is_symbol(0, '['))
        subscript();
      else
        break;
    }
    labels();
    return at_ > start;
  }
  void subscript() {
    expect('[');
    const bool open = is_symbol(0, '.', '.');
    if (!open) expression();
    if (take('.', '.') && !is_symbol(0, ']')) expression();
    expect(']');
  }

  bool atom() {
    const Kind kind = here().kind;
    if (kind == Kind::symbol) return symbol_atom();
    if (kind == Kind::end) fail("an expression");
    if (kind == Kind::reserved) return keyword_atom(), false;
    if (is_name(0)) return name_atom(), false;
    advance();  // a number or a string
    return false;
  }
  bool symbol_atom() {
    if (is_symbol(0, '(')) return parenthesis();
    if (is_symbol(0, '['))
      list();
    else if (is_symbol(0, '{'))
      map();
    else if (is_symbol(0, '$'))
      parameter();
    else
      fail("an expression");
    return false;
  }
  void keyword_atom() {
    if (take_word("TRUE") || take_word("FALSE") || take_word("NULL")) return;
    if (is_word(0, "CASE")) return case_expression();
    if (is_word(0, "EXISTS") && is_symbol(1, '{')) return subquery();
    if (is_symbol(1, '(') && (is_word(0, "EXISTS") || is_word(0, "ALL"))) return function();
    fail("an expression");
  }
  void name_atom() {
    if (is_symbol(1, '{') && (is_word(0, "COUNT") || is_word(0, "COLLECT"))) return subquery();
    std::size_t n = 1;
    while (is_symbol(n, '.') && (is_name(n + 1) || ahead(n + 1).kind == Kind::reserved)) n += 2;
    if (is_symbol(n, '(')) return function();
    advance();
    if (is_symbol(0, '{')) projected_map();
  }

  void case_expression() {
    expect_word("CASE");
    if (!is_word(0, "WHEN")) expression();
    do {
      expect_word("WHEN");
      expression();
      expect_word("THEN");
      expression();
    } while (is_word(0, "WHEN"));
    if (take_word("ELSE")) expression();
    expect_word("END");
  }

  // EXISTS { pattern [WHERE] } or a query in the braces.
  void subquery() {
    const bool collects = is_word(0, "COLLECT");
    advance();
    expect('{');
    if (is_symbol(0, '(') || (is_name(0) && (is_symbol(1, '=') || is_symbol(1, '(')))) {
      pattern();
      where();
    } else {
      query(collects ? Scope::call : Scope::predicate);
    }
    expect('}');
  }

  void function() {
    const bool filters =
        is_word(0, "ALL") || is_word(0, "ANY") || is_word(0, "NONE") || is_word(0, "SINGLE") || is_word(0, "FILTER");
    const bool extracts = is_word(0, "EXTRACT");
    const bool counts = is_word(0, "COUNT"), is_reduction = is_word(0, "REDUCE");
    advance();
    while (take('.')) advance();
    if (counts && is_symbol(1, '*') && is_symbol(2, ')')) return advance(3);
    if (is_reduction && is_name(1) && is_symbol(2, '=')) return reduction();
    const bool over_list = (filters || extracts) && is_name(1) && is_word(2, "IN");
    if (!over_list) return arguments();
    advance(3);  // ( variable IN
    expression();
    where();
    if (extracts && take('|')) expression();
    expect(')');
  }
  void arguments() {
    expect('(');
    take_word("DISTINCT");
    if (take(')')) return;
    expressions();
    expect(')');
  }
  // reduce(sum = 0, x IN list | sum + x)
  void reduction() {
    expect('(');
    variable();
    expect('=');
    expression();
    expect(',');
    variable();
    expect_word("IN");
    expression();
    expect('|');
    expression();
    expect(')');
  }

  // [1, 2], [x IN list WHERE p | e], [path = (a)-->(b) WHERE p | e]
  void list() {
    expect('[');
    if (take(']')) return;
    const bool over_list = is_name(0) && is_word(1, "IN");
    if (is_name(0) && is_symbol(1, '=') && is_symbol(2, '(')) advance(2);  // a path's name, or a comparison
    if (over_list) advance(2);
    const bool only_list = over_list && is_word(0, "NOT");  // x IN NOT y is no element of a list
    const bool over_pattern = expression() && !over_list;
    if (over_list || over_pattern) {
      const bool filters = where();
      const bool maps = take('|');
      if (maps) expression();
      if (filters && over_pattern && !maps) fail("\"|\"");
      if (filters || maps || only_list) return expect(']');
    }
    while (take(',')) expression();
    expect(']');
  }

  void map() {
    expect('{');
    if (take('}')) return;
    do map_entry();
    while (take(','));
    expect('}');
  }
  void map_entry() {
    schema_name("a key");
    expect(':');
    expression();
  }
  // person {.name, .*, age, key: e}, behind the variable. Returns whether all of it could stand in a map, too.
  bool projected_map() {
    expect('{');
    bool plain = true;
    if (take('}')) return plain;
    do {
      if (take('.')) {
        plain = false;
        if (!take('*')) schema_name("a property");
      } else if (is_symbol(1, ':')) {
        map_entry();
      } else {
        plain = false;
        variable();
      }
    } while (take(','));
    expect('}');
    return plain;
  }

  // An expression in parentheses, or a pattern with at least one relationship: then true.
  bool parenthesis() {
    Cover so_far = cover();
    if (!so_far.node || (so_far.expression && !relationship_follows())) return false;
    do {
      so_far.expression = relationship() && so_far.expression;
      if (!is_symbol(0, '(')) fail("a node, \"(\"");
      const Cover next = cover();
      if (!next.node) {
        if (!so_far.expression) fail("a node before this");
        return false;
      }
      so_far.expression = so_far.expression && next.expression;
    } while (is_one_of(0, "<-") && (!so_far.expression || relationship_follows()) && relationship_begins());
    return true;
  }
  bool relationship_begins() const {
    const std::size_t n = is_symbol(0, '<') ? 1 : 0;
    return is_symbol(n, '-') && is_one_of(n + 1, "-[");
  }
  // Whether what could be an operator and its operand is meant as a relationship. (a)-[x]-(b), which could be both, is.
  bool relationship_follows() const {
    if (!relationship_begins()) return false;
    const std::size_t n = is_symbol(0, '<') ? 2 : 1;
    if (is_symbol(n, '-')) return is_symbol(n + 1, '(') || (is_symbol(n + 1, '>') && is_symbol(n + 2, '('));
    if (is_symbol(n + 1, ']')) return is_symbol(n + 2, '-');
    return is_one_of(n + 1, ":*{$") || (is_name(n + 1) && is_one_of(n + 2, "]:*{$"));
  }

  Cover cover() {
    expect('(');
    const std::size_t start = at_;
    Cover may_be{true, false};
    const bool named =
        is_name(0) && is_one_of(1, "):{$") && !(is_symbol(1, '{') && (is_word(0, "COUNT") || is_word(0, "COLLECT")));
    if (named) advance();
    may_be.expression = named;
    const bool labelled = is_symbol(0, ':');
    labels();
    if (is_symbol(0, '{')) {
      may_be.expression = !labelled;
      if (named && !labelled)
        may_be.node = projected_map();
      else
        map();
    } else if (is_symbol(0, '$')) {
      may_be.expression = !named && !labelled;
      parameter();
    }
    if (take(')')) return may_be;
    const bool nothing = at_ == start;
    if (!nothing && !may_be.expression) fail("\")\"");
    expression(nothing ? Begun::nothing : labelled ? Begun::labelled : Begun::atom);
    expect(')');
    return {false, true};
  }
  bool is_subquery() const { return is_symbol(1, '{') && (is_word(0, "COUNT") || is_word(0, "COLLECT")); }
};

}  // namespace detail

// Never throws for what the text holds; a text of more than 1 MiB is not valid.
inline SyntaxVerdict parse_cypher(std::string_view text) {
  if (text.size() > cypher_max_bytes)
    return {false, joined({"the text is longer than ", cypher_max_bytes, " bytes"}), 0};
  try {
    detail::CypherParser(text).parse();
    return {true, {}, 0};
  } catch (const detail::CypherStop& stop) {
    return {false, stop.message, stop.offset};
  }
}

}  // namespace v0
}  // namespace expert
