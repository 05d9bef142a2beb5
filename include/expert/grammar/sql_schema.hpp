// CREATE TABLE statements -> SqlSchema: the tables and their columns, for grammars that offer no others.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/grammar/schema_text.hpp"

namespace expert {
inline namespace v0 {

struct SqlTable {
  SchemaName name;
  std::vector<SchemaName> columns;
};
struct SqlSchema {
  std::vector<SqlTable> tables;
};

namespace detail {

class SqlSchemaReader {
 public:
  SqlSchemaReader(std::string_view text, const std::string& file, const Limits& limits) : in_(text, file, limits) {}

  SqlSchema read() {
    SqlSchema schema;
    for (in_.skip_space(); !in_.at_end(); in_.skip_space()) {
      if (in_.take(";")) continue;
      if (begins_table())
        schema.tables.push_back(read_table());
      else
        while (!in_.at_end() && in_.peek() != ';') in_.skip_item();
    }
    if (schema.tables.empty()) in_.fail("a CREATE TABLE statement");
    return schema;
  }

 private:
  // CREATE [OR REPLACE] [TEMP...] TABLE: taken. Other statements say nothing about names.
  bool begins_table() {
    if (!in_.take_keyword("CREATE")) return false;
    for (const char* word : {"OR", "REPLACE", "GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED"})
      in_.take_keyword(word);
    return in_.take_keyword("TABLE");
  }
  SqlTable read_table() {
    if (in_.take_keyword("IF") && !(in_.take_keyword("NOT") && in_.take_keyword("EXISTS"))) in_.fail("IF NOT EXISTS");
    SqlTable table;
    table.name = in_.take_name("the name of a table");
    while (in_.take(".")) table.name = in_.take_name("the name of a table");
    if (!in_.take("(")) in_.fail("\"(\" and the columns of " + expert::quoted(table.name.text));
    do {
      in_.skip_space();
      if (!begins_constraint()) table.columns.push_back(in_.take_name("the name of a column"));
      while (in_.peek() != ',' && in_.peek() != ')') {
        if (in_.at_end()) in_.fail("\",\" or \")\" in the columns of " + expert::quoted(table.name.text));
        in_.skip_item();
      }
    } while (in_.take(","));
    in_.take(")");
    while (!in_.at_end() && in_.peek() != ';') in_.skip_item();  // WITHOUT ROWID, ENGINE = ...
    return table;
  }
  // KEY and INDEX may begin a constraint in MySQL and may be columns elsewhere: a column has a type, so no parenthesis
  // follows right behind its name.
  bool begins_constraint() {
    const std::string word = in_.peek_word();
    for (const char* constraint : {"PRIMARY", "FOREIGN", "UNIQUE", "CHECK", "CONSTRAINT", "EXCLUDE"})
      if (word == constraint) return true;
    if (word != "KEY" && word != "INDEX" && word != "FULLTEXT") return false;
    SchemaText ahead = in_;
    ahead.take_keyword(word);
    ahead.take_keyword("KEY");
    if (ahead.peek() == '(') return true;
    if (ahead.peek() == ',' || ahead.peek() == ')') return false;
    ahead.take_name("the name of an index");
    return ahead.peek() == '(' && !ahead.begins_size();
  }

  SchemaText in_;
};

}  // namespace detail

// `file` is only named in messages. Other statements are passed over. Throws E349, with line and column, where a CREATE
// TABLE is not whole and where there is none.
inline SqlSchema read_sql_schema(std::string_view text, const std::string& file,
                                 const Limits& limits = default_limits) {
  return detail::SqlSchemaReader(text, file, limits).read();
}

}  // namespace v0
}  // namespace expert
