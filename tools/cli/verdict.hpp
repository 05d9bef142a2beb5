// What is said of one answer: a verdict by metric, or why there is none; verdicts -> counts.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "expert/data/jsonl.hpp"
#include "expert/data/row_fields.hpp"
#include "sql_metrics.hpp"

namespace cli {

using namespace expert;

enum class Metric : std::uint8_t { parse_valid, executes, exact, execution_match };
inline constexpr std::array<std::string_view, 4> metric_names{"parse_valid", "executes", "exact", "execution_match"};

constexpr std::string_view name_of(Metric metric) { return metric_names[static_cast<std::size_t>(metric)]; }

// Why a row lacks a verdict, and which: every reason that applies is counted.
enum class Gap : std::uint8_t {
  without_answer,
  reference_not_parsed,
  without_databases,
  database_fails,
  reference_fails,
  reference_empty
};
inline constexpr std::array<std::string_view, 6> gap_names{"without_answer",    "reference_not_parsed",
                                                           "without_databases", "database_fails",
                                                           "reference_fails",   "reference_empty"};
inline constexpr std::array<std::string_view, 6> gap_sentences{
    "no `answer`: neither exact nor execution_match",
    "the parser refuses the `answer`: neither exact nor execution_match",
    "no `dbs`: neither executes nor execution_match",
    "a script of `context` or `dbs` does not run: neither executes nor execution_match",
    "the `answer` does not run: no execution_match",
    "the result of the `answer` is empty: no execution_match"};

struct Verdict {
  std::array<std::optional<bool>, 4> metrics;  // by Metric; empty: not measured
  std::array<bool, 6> gaps{};                  // by Gap
  std::string message;                         // of the first thing that went wrong with the answer

  std::optional<bool>& operator[](Metric m) { return metrics[static_cast<std::size_t>(m)]; }
  const std::optional<bool>& operator[](Metric m) const { return metrics[static_cast<std::size_t>(m)]; }
};

struct Tally {
  std::int64_t rows = 0;
  std::array<Share, 4> metrics;
  std::array<std::int64_t, 6> gaps{};  // by Gap

  const Share& operator[](Metric m) const { return metrics[static_cast<std::size_t>(m)]; }
  void add(const Verdict& verdict) {
    ++rows;
    for (std::size_t g = 0; g < gaps.size(); ++g) gaps[g] += verdict.gaps[g];
    for (std::size_t m = 0; m < metrics.size(); ++m)
      if (verdict.metrics[m]) metrics[m].add(*verdict.metrics[m]);
  }
};

struct AnsweredRow {
  std::string output;
  std::optional<std::string> answer;
};

// Throws E255 where `output` is missing or a field is no text.
inline AnsweredRow answered_row(const JsonRow& row, const std::string& file, const RowOptions& names) {
  const expert::detail::RowFields fields(row, file, names);
  AnsweredRow out;
  if (!fields.has("output")) fields.fail("/output", "the text that `expert-cli generate` wrote", "none");
  out.output = fields.string(*fields.find("output"), "/output");
  if (const Json* answer = fields.find("answer"); answer != nullptr && !answer->is_null())
    out.answer = fields.string(*answer, "/answer");
  return out;
}

}  // namespace cli
