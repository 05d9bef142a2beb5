// A language's name and a text -> the verdict of that language's real parser: `"validation": "parser-strict"`.
//
//   sql-postgres   libpg_query, PostgreSQL's own grammar: exactly one statement
//   sql-sqlite     SQLite: exactly one statement
//   json           the reader that the library reads its own files with (json/json.hpp)
//   typescript     the TypeScript compiler, in a node process
//   cypher         grammar/cypher_parser.hpp
//
// sql-mysql has none: no MySQL parser is packaged apart from its server.
#pragma once
#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "expert/core/error.hpp"
#include "expert/grammar/verdict.hpp"

namespace cli {

inline constexpr expert::ErrorCode no_strict_parser{360, "there is no strict parser for this language"};
inline constexpr std::array<std::string_view, 5> strict_languages{"sql-postgres", "sql-sqlite", "json", "typescript",
                                                                  "cypher"};

class StrictParser {
 public:
  // Throws E360 for another language, and where its parser is absent what stands for it: E405 (built without the SQL
  // libraries) or E361 (no TypeScript compiler on this machine).
  explicit StrictParser(std::string_view language);
  StrictParser(StrictParser&&) noexcept;
  StrictParser& operator=(StrictParser&&) noexcept;
  ~StrictParser();

  // No text makes it throw, hang or take the program down: SQL and TypeScript are parsed in a child process.
  expert::SyntaxVerdict operator()(const std::string& text);

 private:
  struct Judge;
  std::unique_ptr<Judge> judge_;
};

}  // namespace cli
