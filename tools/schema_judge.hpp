// The schema that a row brings and its answer -> whether the answer fits: a JSON document by its JSON Schema, a
// statement by its CREATE TABLE statements. For /training/dataset/validation/validate_schema.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "expert/core/error.hpp"
#include "expert/data/filter.hpp"

namespace cli {

inline constexpr expert::ErrorCode rule_without_meaning{259, "a rule for rows has no meaning for this language"};
inline constexpr expert::ErrorCode no_json_schema{410, "this program was built without what it needs for JSON Schema"};

class SchemaJudge {
 public:
  // Throws E259 for a language without schemas, E405 and E410 where what judges this one was not built in.
  SchemaJudge(std::string_view language, const std::string& manifest);
  SchemaJudge(const SchemaJudge&) = delete;
  SchemaJudge& operator=(const SchemaJudge&) = delete;
  ~SchemaJudge();

  // A schema that cannot be read fits nothing. JSON: draft 7 by valijson; references to other files are unreadable.
  // SQL: SQLite prepares the statement on the schema's tables. What only another dialect knows it cannot prepare; then
  // the statement fits if its own dialect parses it, and unjudged() counts it: its names were not looked up.
  bool operator()(const std::string& schema, const std::string& answer);
  std::int64_t unjudged() const { return unjudged_; }

  // For the filter; this object must outlive it.
  expert::SchemaCheck check();

 private:
  struct Judge;
  bool fits_sql(const std::string& schema, const std::string& answer);

  std::unique_ptr<Judge> judge_;
  std::int64_t unjudged_ = 0;
};

}  // namespace cli
