// Rows that a manifest keeps out of training: too short, too long, seen before, or not what they should be; and what it
// changes in those that stay: the schema that some go without, the aliases that some tables get.
#pragma once
#include <cstdint>
#include <string>

#include "expert/core/join.hpp"
#include "expert/core/random.hpp"
#include "expert/core/text_index.hpp"
#include "expert/data/shapes.hpp"
#include "expert/data/sql_aliases.hpp"
#include "expert/json/json.hpp"

namespace expert {
inline namespace v0 {

// Whether an answer fits the schema that its row brings. `checker` is whatever `fits` needs; null `fits`: all do.
struct SchemaCheck {
  bool (*fits)(void* checker, const std::string& schema, const std::string& answer) = nullptr;
  void* checker = nullptr;
};

// Manifest /training/dataset/validation and augmentation.
struct RowFilterOptions {
  std::int64_t min_length = 0, max_length = 0;  // characters of all segments together; 0: no bound
  bool deduplicate = false;
  bool validate_json = false;        // an answer is one JSON value
  SchemaCheck validate_schema = {};  // of question/answer rows with a context
  double schema_injection_prob = 1;  // share of question/answer rows that keep their context
  bool table_aliases = false;        // half of the question/answer rows: aliases in the answer, where it is SQL
  std::uint64_t seed = 0;
};

// How many rows a rule left out, and the line of the first.
struct LeftOut {
  std::int64_t rows = 0, first_line = 0;
  void add(std::int64_t line) {
    if (rows++ == 0) first_line = line;
  }
};

// What makes two rows the same: all that their segments and ids say.
inline std::string row_key(const Example& example) {
  std::string key;
  for (const Segment& s : example.segments) {
    key += s.role + '\0';
    key += s.content + '\0';
  }
  for (const std::int32_t id : example.tokens.ids) append(key, {id, ","});
  return key;
}

class RowFilter {
 public:
  explicit RowFilter(const RowFilterOptions& options)
      : options_(options), random_(options.seed, Purpose::augment), aliases_(options.seed, Purpose::augment, 0, 1) {}

  // False where the row is left out; else the row may have lost its system message with the schema, and its answer may
  // have got aliases. Which rows lose the schema depends on the seed and on how many rows came before, which get
  // aliases on the seed and their line.
  bool keep(Example& example, std::int64_t line) {
    const std::uint64_t index = rows_++;
    std::int64_t length = 0;
    for (const Segment& s : example.segments)
      for (const char c : s.content) length += (static_cast<unsigned char>(c) & 0xc0u) != 0x80u;
    const bool is_text = example.shape != RowShape::input_ids;  // ids have no characters to count
    if (is_text && length < options_.min_length) return ++too_short_, false;
    if (options_.max_length > 0 && length > options_.max_length) return ++too_long_, false;
    if (options_.deduplicate && !seen_.insert(row_key(example), 0)) return ++duplicates_, false;
    if (options_.validate_json && !is_json(example)) return not_json_.add(line), false;
    if (!fits_schema(example)) return not_by_schema_.add(line), false;
    if (example.shape != RowShape::question_answer) return true;
    add_aliases(example, line);
    if (example.segments.front().role == "system" && double{random_.uniform(index)} >= options_.schema_injection_prob) {
      example.segments.erase(example.segments.begin());
      ++without_schema_;
    }
    return true;
  }
  std::int64_t too_short() const { return too_short_; }
  std::int64_t too_long() const { return too_long_; }
  std::int64_t duplicates() const { return duplicates_; }
  const LeftOut& not_json() const { return not_json_; }
  const LeftOut& not_by_schema() const { return not_by_schema_; }
  std::int64_t without_schema() const { return without_schema_; }
  std::int64_t with_aliases() const { return with_aliases_; }

 private:
  // A text without turns has no answer apart from itself: then all of it is the value. Ids say nothing.
  static bool is_json(const Example& example) {
    for (const Segment& s : example.segments) {
      if (!s.bears_loss) continue;
      try {
        parse_json(s.content, {}, default_limits.jsonl_line_bytes);
      } catch (const Error&) {
        return false;
      }
    }
    return true;
  }
  bool fits_schema(const Example& example) const {
    const SchemaCheck& check = options_.validate_schema;
    if (check.fits == nullptr || example.context.empty()) return true;
    return check.fits(check.checker, example.context, example.segments.back().content);
  }
  void add_aliases(Example& example, std::int64_t line) {
    if (!options_.table_aliases || aliases_.uniform(static_cast<std::uint64_t>(line)) >= 0.5f) return;
    std::string& answer = example.segments.back().content;
    std::string with_aliases = with_table_aliases(answer);
    with_aliases_ += with_aliases != answer;
    answer = std::move(with_aliases);
  }

  RowFilterOptions options_;
  RandomStream random_, aliases_;
  TextIndex seen_;
  std::uint64_t rows_ = 0;
  std::int64_t too_short_ = 0, too_long_ = 0, duplicates_ = 0, without_schema_ = 0, with_aliases_ = 0;
  LeftOut not_json_, not_by_schema_;
};

}  // namespace v0
}  // namespace expert
