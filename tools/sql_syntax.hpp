// A text -> whether it is exactly one statement of PostgreSQL or of SQLite, by their own parsers. Runs in the child
// process of sql_worker.hpp; without libpg_query and SQLite nothing is valid.
#pragma once
#include <string>

#include "expert/grammar/verdict.hpp"

namespace cli {

// PostgreSQL's grammar (libpg_query); names and types are not looked up.
expert::SyntaxVerdict postgres_syntax(const std::string& text);

// SQLite has no call that only parses: a statement is prepared on an empty database, where it fails for lack of its
// tables, but only when all of it has been read. Errors that no schema could mend (a column twice in CREATE TABLE)
// count.
expert::SyntaxVerdict sqlite_syntax(const std::string& text);

}  // namespace cli
