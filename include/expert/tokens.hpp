// 3. Rows of text -> batches of tokens: shape, chat template, tokenizer, loss mask, packing.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/batch.hpp"
#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/data/filter.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/data/packing.hpp"
#include "expert/data/shapes.hpp"
#include "expert/text/chat_template.hpp"
#include "expert/text/tokenizer.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode nothing_to_train_on{257, "no row of a data file can be trained on"};
inline constexpr ErrorCode tokenizer_too_large{258, "the tokenizer has ids that the model has no embedding for"};

// Tokens of one row. Messages go through the chat template, in which content never becomes a special token; text
// without roles is encoded as transformers does by default, special tokens included. `end_token` (the model's
// eos_token_id) ends every text, and every answer that the template does not end itself; where an answer bears loss, so
// does its end. Rows of ids are taken as they are. Completions are encoded apart from their prompt, so that they have
// the ids that generation gives them. Throws E246 to E249 of the tokenizer and the template.
template <class ChatTemplate>
ChatIds encode_example(const Tokenizer& tokenizer, const Example& example, std::optional<std::int32_t> end_token,
                       bool add_generation_prompt = false) {
  if (example.shape == RowShape::input_ids)
    return {example.tokens.ids, {example.tokens.bears_loss.begin(), example.tokens.bears_loss.end()}};
  if (example.is_chat()) {
    std::vector<Message> messages;
    for (const Segment& s : example.segments) messages.push_back({s.role, s.content, s.bears_loss});
    return encode_chat<RendererOf<ChatTemplate>>(tokenizer, messages, add_generation_prompt, end_token);
  }
  ChatIds out;
  for (const Segment& s : example.segments) {
    const std::vector<std::int32_t> ids = tokenizer.encode(s.content, SpecialTokens::parse);
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
    out.bears_loss.resize(out.ids.size(), s.bears_loss);
  }
  if (end_token && !add_generation_prompt && (out.ids.empty() || out.ids.back() != *end_token)) {
    out.ids.push_back(*end_token);
    out.bears_loss.push_back(!example.segments.empty() && example.segments.back().bears_loss);
  }
  return out;
}

// A data file as tokens.
struct Dataset {
  Documents documents;
  std::vector<std::int64_t> lines;                            // of the file, one for each document
  std::array<std::int64_t, row_shape_names.size()> shapes{};  // rows of each RowShape
  std::int64_t first_id_line = 0;                             // of the file: the first row of input_ids
  std::int64_t blank_lines = 0;
  std::int64_t too_short = 0, too_long = 0, duplicates = 0;  // rows that the filter left out
  LeftOut not_json, not_by_schema;
  std::int64_t without_schema = 0;  // rows that the filter took the context from
  std::int64_t with_aliases = 0;    // rows whose tables it gave aliases

  std::int64_t tokens() const { return documents.begin.back(); }
  std::int64_t loss_tokens() const {
    std::int64_t n = 0;
    for (std::int64_t d = 0; d < documents.size(); ++d)
      for (std::int64_t i = 1; i < documents.length(d); ++i)
        n += documents.bears_loss[static_cast<std::size_t>(documents.begin[static_cast<std::size_t>(d)] + i)];
    return n;
  }
};

// Throws E256 where the file has no rows, and what reader, shapes and template throw; a complaint of tokenizer or
// template is given the file and the line. With `spool_directory` the tokens go to a file there instead of into memory
// (E203), and of a document no more than 16 bytes stay.
template <class ChatTemplate>
Dataset read_dataset(JsonlReader& reader, const Tokenizer& tokenizer, std::optional<std::int32_t> end_token,
                     const RowOptions& options = {}, const RowFilterOptions& filter_options = {},
                     const std::string& spool_directory = {}) {
  Dataset data;
  if (!spool_directory.empty()) {
    data.documents.input_ids = SpooledList<std::int32_t>(spool_directory);
    data.documents.bears_loss = SpooledList<std::uint8_t>(spool_directory);
  }
  RowFilter filter(filter_options);
  RowOptions with_vocabulary = options;
  with_vocabulary.vocab_size = tokenizer.size();
  std::vector<std::uint8_t> loss;
  for (JsonRow row; reader.next(row);) {
    Example example = read_example(row, reader.file(), with_vocabulary);
    if (!filter.keep(example, row.line)) continue;
    ++data.shapes[static_cast<std::size_t>(example.shape)];
    if (example.shape == RowShape::input_ids && data.first_id_line == 0) data.first_id_line = row.line;
    try {
      const ChatIds ids = encode_example<ChatTemplate>(tokenizer, example, end_token);
      loss.assign(ids.bears_loss.begin(), ids.bears_loss.end());
      data.documents.add(ids.ids, loss);
    } catch (const Error& e) {
      ErrorDetail detail = e.detail();
      detail.file = reader.file();
      const std::string within = detail.where.empty() ? "" : ", " + detail.where;
      detail.where = "line " + std::to_string(row.line) + within;
      throw Error(e.error_code(), std::move(detail));
    }
    data.lines.push_back(row.line);
  }
  require_rows(reader);
  data.documents.input_ids.finish();
  data.documents.bears_loss.finish();
  data.blank_lines = reader.blank_lines();
  data.too_short = filter.too_short();
  data.too_long = filter.too_long();
  data.duplicates = filter.duplicates();
  data.not_json = filter.not_json();
  data.not_by_schema = filter.not_by_schema();
  data.without_schema = filter.without_schema();
  data.with_aliases = filter.with_aliases();
  return data;
}

// How documents become the rows of a batch: packed, several a row; or padded, one a row, as transformers' padding
// collator does: where the manifest says packing: false, and, for the whole file, where any row is input_ids without
// text. Each document has the same loss and gradient either way; what differs is which documents make a step. Padding
// is never materialised: a batch is a list of tokens with key ranges (core/batch.hpp).
enum class RowPath : std::uint8_t { packed, padded };
constexpr std::string_view name_of(RowPath path) { return path == RowPath::packed ? "packed" : "padded"; }

// The batches of a whole run: micro-batches of batch_size rows, gradient_accumulation_steps of them a step, epoch after
// epoch, each shuffled anew. A step's batches depend on its number alone, so a run can begin at any step.
class TrainingData {
 public:
  // Throws E257 where every document is longer than max_seq_length or bears no loss.
  TrainingData(Dataset data, const PackingOptions& options, std::int64_t batch_size, std::int64_t accumulation_steps,
               const std::string& file)
      : data_(std::move(data)), options_(options), batch_size_(batch_size), accumulation_steps_(accumulation_steps) {
    options_.batch_size = batch_size;
    choose_path();
    enter_epoch(0);
    std::int64_t loss_tokens = 0;
    for (const auto& row : packed_.rows)
      for (const std::int64_t d : row)
        for (std::int64_t i = 1; i < data_.documents.length(d); ++i)
          loss_tokens +=
              data_.documents
                  .bears_loss[static_cast<std::size_t>(data_.documents.begin[static_cast<std::size_t>(d)] + i)];
    if (loss_tokens == 0)
      throw Error(nothing_to_train_on,
                  {.file = file,
                   .where = {},
                   .expected = "a row of at most " + std::to_string(options.max_seq_length) + " tokens that bears loss",
                   .got = std::to_string(packed_.over_long.size()) + " rows above that length of " +
                          std::to_string(data_.documents.size()),
                   .fix = "Split the rows, or compile the expert with a larger max_seq_length"});
  }

  std::int64_t micro_batches_per_epoch() const {
    return ceil_div(static_cast<std::int64_t>(packed_.rows.size()), batch_size_);
  }
  std::int64_t steps_per_epoch() const { return ceil_div(micro_batches_per_epoch(), accumulation_steps_); }
  const PackingOptions& options() const { return options_; }
  std::int64_t batch_size() const { return batch_size_; }
  std::int64_t gradient_accumulation_steps() const { return accumulation_steps_; }

  // The micro-batches of optimizer step `index`, counted from 0. The last step of an epoch may have fewer.
  std::vector<TokenBatch> step(std::int64_t index) {
    enter_epoch(static_cast<std::uint32_t>(index / steps_per_epoch()));
    const std::int64_t first = index % steps_per_epoch() * accumulation_steps_;
    const std::int64_t last = std::min(first + accumulation_steps_, micro_batches_per_epoch());
    std::vector<TokenBatch> batches;
    for (std::int64_t i = first; i < last; ++i)
      batches.push_back(make_batch(data_.documents, packed_, i * batch_size_, batch_size_));
    return batches;
  }

  const Dataset& data() const { return data_; }
  const PackedRows& packed() const { return packed_; }  // of the epoch of the last step

  // Which way the rows go, why (a clause for a line of progress), and the share of token places that hold a token.
  // A packed batch has max_seq_length places a row, a padded one as many as its longest row.
  RowPath path() const { return options_.packed ? RowPath::packed : RowPath::padded; }
  const std::string& path_reason() const { return path_reason_; }
  double fill() const {
    if (options_.packed) return packed_.fill();
    std::int64_t places = 0;
    for (std::int64_t first = 0; first < std::ssize(packed_.rows); first += batch_size_) {
      const std::int64_t last = std::min(first + batch_size_, static_cast<std::int64_t>(packed_.rows.size()));
      std::int64_t longest = 0;
      for (std::int64_t row = first; row < last; ++row)
        longest = std::max(longest, data_.documents.length(packed_.rows[static_cast<std::size_t>(row)].front()));
      places += (last - first) * longest;
    }
    return places == 0 ? 0 : static_cast<double>(packed_.tokens) / static_cast<double>(places);
  }

 private:
  static std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
  void choose_path() {
    const std::int64_t id_rows = data_.shapes[static_cast<std::size_t>(RowShape::input_ids)];
    path_reason_ = "all rows have text";
    if (id_rows > 0)
      path_reason_ = joined({id_rows, " rows have input_ids and no text, the first in line ", data_.first_id_line});
    if (!options_.packed) path_reason_ = "the manifest says packing: false";
    options_.packed = options_.packed && id_rows == 0;
  }
  void enter_epoch(std::uint32_t epoch) {
    if (epoch_ == epoch) return;
    packed_ = pack(data_.documents, options_, epoch);
    epoch_ = epoch;
  }

  Dataset data_;
  PackingOptions options_;
  std::int64_t batch_size_, accumulation_steps_;
  std::string path_reason_;
  PackedRows packed_;
  std::optional<std::uint32_t> epoch_;
};

// Throws E258 where a token of the tokenizer lies beyond the model's embedding.
inline void check_vocabulary(const Tokenizer& tokenizer, std::int64_t vocab_size, const std::string& file) {
  if (tokenizer.size() > vocab_size)
    throw Error(tokenizer_too_large, {.file = file,
                                      .where = {},
                                      .expected = "at most " + std::to_string(vocab_size) + " ids",
                                      .got = std::to_string(tokenizer.size()),
                                      .fix = "Use the tokenizer.json of the model"});
}

}  // namespace v0
}  // namespace expert
