// A few rows -> samples.json: question, reference, and the answers of the base and of the expert, for the report.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/answers.hpp"
#include "cli/common.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/data/shapes.hpp"
#include "expert/generate.hpp"
#include "expert/io/gzip.hpp"
#include "expert/tokens.hpp"

namespace cli {

// What a report shows of a row: {question, context, reference, group}. The question is the last turn before the answer.
inline Json sample_of(const JsonRow& row, const std::string& file, const RowOptions& options) {
  RowOptions ask = options;
  ask.needs_completion = false;
  ask.context_prefix.clear();
  Json sample = Json::object();
  for (const Segment& s : read_example(row, file, ask).segments)
    sample.set(s.role == "system" ? "context" : "question", s.content);
  try {
    std::string reference;
    for (const Segment& s : read_example(row, file, options).segments)
      if (s.bears_loss) reference += (reference.empty() ? "" : "\n") + s.content;
    sample.set("reference", reference);
  } catch (const Error& e) {  // a row without an answer
    if (!(e.error_code() == row_without_shape)) throw;
  }
  if (const Json* group = row.value.find("group"); group != nullptr && group->is_string()) sample.set("group", *group);
  return sample;
}

// The row without its answer; nothing where it is text without turns, or ids without text.
inline std::optional<Example> question_of(const JsonRow& row, const std::string& file, const RowOptions& ask) {
  try {
    Example example = read_example(row, file, ask);
    if (example.shape != RowShape::text) return example;
  } catch (const Error& e) {
    if (!(e.error_code() == row_without_shape)) throw;
  }
  return std::nullopt;
}

// Line numbers of `wanted` rows, evenly spaced over those that are given, so that none is chosen by its result.
inline std::vector<std::int64_t> evenly_spaced(const std::vector<std::int64_t>& lines, std::int64_t wanted) {
  const std::int64_t n = std::ssize(lines), take = std::min(wanted, n);
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < take; ++i)
    chosen.push_back(lines[static_cast<std::size_t>((2 * i + 1) * n / (2 * take))]);
  return chosen;
}

// The rows on these lines, in order.
inline std::vector<JsonRow> rows_on(const std::string& file, const std::vector<std::int64_t>& lines) {
  std::vector<JsonRow> rows;
  const auto source = open_plain_or_gzip(file);
  JsonlReader reader(*source, file);
  for (JsonRow row; rows.size() < lines.size() && reader.next(row);)
    if (row.line == lines[rows.size()]) rows.push_back(std::move(row));
  return rows;
}

inline std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n;"), last = text.find_last_not_of(" \t\r\n;");
  return first == text.npos ? std::string() : text.substr(first, last - first + 1);
}

struct SampleOptions {
  std::string file;                 // rows to answer
  std::vector<std::int64_t> lines;  // which of them
  RowOptions rows;
  std::vector<std::int32_t> end_tokens;
  std::vector<std::string> stop_sequences;
  std::int64_t max_new_tokens = 128;
};

// Greedy answers of the base alone and with the adapter (AdapterLayout<E>::size numbers). Rows that ask nothing, or are
// too long for the expert, are passed over.
template <class E>
Json make_samples(CpuDevice& device, const Weights<E>& weights, const float* adapter, const Tokenizer& tokenizer,
                  const SampleOptions& options) {
  RowOptions ask = options.rows;
  ask.needs_completion = false;
  const std::int64_t longest = E::rope::longest_context(E::model::max_position_embeddings) - options.max_new_tokens;
  std::vector<Json> samples;
  std::vector<std::vector<std::int32_t>> prompts;
  std::int64_t context = 0;
  for (const JsonRow& row : rows_on(options.file, options.lines)) {
    const std::optional<Example> example = question_of(row, options.file, ask);
    if (!example) continue;
    auto ids = encode_example<typename E::chat_template>(tokenizer, *example, std::nullopt, true).ids;
    if (ids.empty() || std::ssize(ids) > longest) continue;
    context = std::max(context, std::ssize(ids) + options.max_new_tokens);
    prompts.push_back(std::move(ids));
    samples.push_back(sample_of(row, options.file, options.rows));
  }
  Json rows = Json::array();
  if (!prompts.empty()) {
    GenerateOptions greedy;
    greedy.max_new_tokens = options.max_new_tokens;
    greedy.eos_token_id = options.end_tokens;
    std::vector<Json> answers(samples.size(), Json::array());
    for (const auto& [system, parameters] :
         {std::pair<const char*, const float*>{"base", nullptr}, {"expert", adapter}}) {
      Generator<E> generator(device, weights, parameters,
                             {.context_length = context, .rows = decode_rows<E>(std::ssize(prompts))});
      const std::vector<Answer> all = answers_to(generator, tokenizer, prompts, greedy, options.stop_sequences);
      for (std::size_t i = 0; i < all.size(); ++i) {
        Json answer = Json::object().set("system", system).set("output", all[i].text);
        if (const Json* reference = samples[i].find("reference"))
          answer.set("eval", Json::object().set("exact", trimmed(all[i].text) == trimmed(reference->as_string())));
        answers[i].push(std::move(answer));
      }
    }
    for (std::size_t i = 0; i < samples.size(); ++i) rows.push(samples[i].set("answers", std::move(answers[i])));
  }
  std::string note = std::to_string(rows.items().size());
  note.append(" rows, evenly spaced over ")
      .append(utf8_lossy(options.file))
      .append("; greedy answers, compared as text.");
  return Json::object().set("note", note).set("rows", std::move(rows));
}

}  // namespace cli
