// A row of token ids, as transformers and TRL keep tokenised sets -> its tokens without padding, each with or without
// loss.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "expert/core/batch.hpp"
#include "expert/core/join.hpp"
#include "expert/data/row_fields.hpp"

namespace expert {
inline namespace v0 {

struct IdRow {
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> bears_loss;  // one per id
};

namespace detail {

// {"input_ids", and each optional: "attention_mask", "labels", "completion_mask"}, lists of one length. What the mask
// has as 0 at either end is padding and dropped, with its labels; a hole in the middle is refused. A token bears loss
// unless its label is -100 (ignore_index) or its completion_mask 0, as in TRL's collator. A label is not shifted: it
// stands beside the token that it repeats, and any other value is refused, for it would be another task. Throws E255.
inline IdRow read_input_ids(const RowFields& fields, std::int64_t vocab_size) {
  const std::int64_t below = vocab_size > 0 ? vocab_size : std::numeric_limits<std::int32_t>::max();
  IdRow row;
  row.ids = fields.integers("input_ids", 0, below);
  const std::size_t n = row.ids.size();
  const auto beside = [&](std::string_view name, std::int64_t least, std::int64_t end, std::int32_t otherwise) {
    if (!fields.has(name) || fields.find(name)->is_null()) return std::vector<std::int32_t>(n, otherwise);
    std::vector<std::int32_t> values = fields.integers(name, least, end);
    if (values.size() != n)
      fields.fail(RowFields::pointer(name), joined({n, " numbers, as many as input_ids"}), joined({values.size()}));
    return values;
  };
  const std::vector<std::int32_t> mask = beside("attention_mask", 0, 2, 1);
  const std::vector<std::int32_t> completion = beside("completion_mask", 0, 2, 1);
  const bool has_labels = fields.has("labels") && !fields.find("labels")->is_null();
  const std::vector<std::int32_t> labels = beside("labels", ignore_index, below, ignore_index);

  const auto first = static_cast<std::size_t>(std::find(mask.begin(), mask.end(), 1) - mask.begin());
  std::size_t last = n;
  while (last > first && mask[last - 1] == 0) --last;
  if (first == last) fields.fail("/input_ids", "at least one token that is no padding", "none");
  row.bears_loss.resize(n);
  for (std::size_t i = first; i < last; ++i) {
    if (mask[i] == 0)
      fields.fail(joined({"/attention_mask/", i}), "padding at the start or the end only", "a 0 between tokens");
    if (has_labels && labels[i] != ignore_index && labels[i] != row.ids[i])
      fields.fail(joined({"/labels/", i}), joined({"-100, or the token itself, ", row.ids[i]}), joined({labels[i]}));
    row.bears_loss[i] = completion[i] != 0 && (!has_labels || labels[i] != ignore_index);
  }
  const auto cut = [&](auto& values) {
    values.erase(values.begin() + static_cast<std::ptrdiff_t>(last), values.end());
    values.erase(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(first));
  };
  cut(row.ids);
  cut(row.bears_loss);
  return row;
}

}  // namespace detail
}  // namespace v0
}  // namespace expert
