// One object of a data file, under the manifest's names -> its fields, checked, or a complaint with file, line and
// field.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/data/sql_text.hpp"
#include "expert/json/json.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode row_without_shape{254, "a row fits no known shape"};
inline constexpr ErrorCode row_field_unusable{255, "a field of a row cannot be used"};

struct RowOptions {
  // Manifest /training/dataset/field_mapping: our name ("question") -> the name in the file ("sql_prompt"). Where a
  // mapped name is absent from a row, our own name is looked for.
  std::vector<std::pair<std::string, std::string>> field_mapping;
  std::string context_prefix = "Schema:\n";  // before the context of question/answer rows, in the system message
  bool needs_completion = true;              // false: rows to be answered; a completion that is there is ignored
  std::int64_t vocab_size = 0;               // ids of `input_ids` are below it; 0: not known
  SqlTextOptions sql = {};                   // of the context and the answer of question/answer rows
};

namespace detail {

// Looks up and checks the fields of one row; every complaint names file, line and field.
class RowFields {
 public:
  RowFields(const JsonRow& row, const std::string& file, const RowOptions& options)
      : row_(row), file_(file), options_(options) {}

  const Json* find(std::string_view name) const {
    for (const auto& [ours, theirs] : options_.field_mapping)
      if (ours == name)
        if (const Json* value = row_.value.find(theirs)) return value;
    return row_.value.find(name);
  }
  bool maps(std::string_view name) const {
    for (const auto& [ours, theirs] : options_.field_mapping)
      if (ours == name && row_.value.find(theirs)) return true;
    return false;
  }
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // A list of whole numbers in [least, below), written without fraction: 12.0 is no token.
  std::vector<std::int32_t> integers(std::string_view name, std::int64_t least, std::int64_t below) const {
    const Json& list = *find(name);
    if (!list.is_array()) fail(pointer(name), "a list of integers", list.described());
    std::vector<std::int32_t> values;
    values.reserve(list.items().size());
    for (const Json& item : list.items()) {
      const bool fits = item.is_int64() && item.as_int() >= least && item.as_int() < below;
      if (!fits)
        fail(joined({"/", name, "/", values.size()}), joined({"an integer from ", least, " to ", below - 1}),
             item.described());
      values.push_back(static_cast<std::int32_t>(item.as_int()));
    }
    return values;
  }
  std::string required(std::string_view name) const {
    const std::string text = string(*find(name), pointer(name));
    if (text.empty()) fail(pointer(name), "text", "an empty string");
    return text;
  }
  std::string optional(std::string_view name) const {  // absent, null and "" are the same
    const Json* value = find(name);
    return value == nullptr || value->is_null() ? std::string() : string(*value, pointer(name));
  }
  const std::string& string(const Json& value, const std::string& where) const {
    if (!value.is_string()) fail(where, "a string", value.described());
    return value.as_string();
  }
  static std::string pointer(std::string_view name) { return std::string("/").append(name); }
  [[noreturn]] void fail(const std::string& where, const std::string& expected, const std::string& got) const {
    throw Error(row_field_unusable, {.file = file_,
                                     .where = joined({"line ", row_.line, ", ", where}),
                                     .expected = expected,
                                     .got = got,
                                     .fix = "Correct the row or leave it out"});
  }
  [[noreturn]] void no_shape() const {
    std::string keys;
    std::size_t shown = 0;
    for (const auto& [key, value] : row_.value.members()) {
      if (++shown > 12) break;
      append(keys, {keys.empty() ? "" : ", ", expert::quoted(key, 40)});
    }
    if (shown > 12) keys += ", ...";
    const bool complete = options_.needs_completion;
    throw Error(
        row_without_shape,
        {.file = file_,
         .where = joined({"line ", row_.line}),
         .expected = joined({"messages, conversations, prompt + completion, question + answer, instruction + output, ",
                             complete ? "text, or input_ids, with the completion" : "or text"}),
         .got = keys.empty() ? std::string("no keys") : joined({"the keys ", keys}),
         .fix = "Rename the fields, or name them in the manifest under /training/dataset/field_mapping"});
  }

 private:
  const JsonRow& row_;
  const std::string& file_;
  const RowOptions& options_;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
