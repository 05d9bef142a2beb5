// Rows that a manifest keeps out of training: too short, too long, or seen before; and the schema that some rows go
// without.
#pragma once
#include <cstdint>
#include <string>

#include "expert/core/join.hpp"
#include "expert/core/random.hpp"
#include "expert/core/text_index.hpp"
#include "expert/data/shapes.hpp"

namespace expert {
inline namespace v0 {

// Manifest /training/dataset/validation and augmentation/schema_injection_prob.
struct RowFilterOptions {
  std::int64_t min_length = 0, max_length = 0;  // characters of all segments together; 0: no bound
  bool deduplicate = false;
  double schema_injection_prob = 1;  // share of question/answer rows that keep their context
  std::uint64_t seed = 0;
};

class RowFilter {
 public:
  explicit RowFilter(const RowFilterOptions& options) : options_(options), random_(options.seed, Purpose::augment) {}

  // False where the row is left out; else the row may have lost its system message with the schema. Which rows lose it
  // depends on the seed and on how many rows came before.
  bool keep(Example& example) {
    const std::uint64_t index = rows_++;
    std::int64_t length = 0;
    for (const Segment& s : example.segments)
      for (const char c : s.content) length += (static_cast<unsigned char>(c) & 0xc0u) != 0x80u;
    const bool is_text = example.shape != RowShape::input_ids;  // ids have no characters to count
    if (is_text && length < options_.min_length) return ++too_short_, false;
    if (options_.max_length > 0 && length > options_.max_length) return ++too_long_, false;
    if (options_.deduplicate && !seen_.insert(key_of(example), 0)) return ++duplicates_, false;
    if (example.shape == RowShape::question_answer && example.segments.front().role == "system" &&
        double{random_.uniform(index)} >= options_.schema_injection_prob) {
      example.segments.erase(example.segments.begin());
      ++without_schema_;
    }
    return true;
  }
  std::int64_t too_short() const { return too_short_; }
  std::int64_t too_long() const { return too_long_; }
  std::int64_t duplicates() const { return duplicates_; }
  std::int64_t without_schema() const { return without_schema_; }

 private:
  static std::string key_of(const Example& example) {
    std::string key;
    for (const Segment& s : example.segments) {
      key += s.role + '\0';
      key += s.content + '\0';
    }
    for (const std::int32_t id : example.tokens.ids) append(key, {id, ","});
    return key;
  }

  RowFilterOptions options_;
  RandomStream random_;
  TextIndex seen_;
  std::uint64_t rows_ = 0;
  std::int64_t too_short_ = 0, too_long_ = 0, duplicates_ = 0, without_schema_ = 0;
};

}  // namespace v0
}  // namespace expert
