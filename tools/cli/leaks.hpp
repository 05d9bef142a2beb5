// Test rows and training rows -> how many of the former ask what one of the latter asks.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "expert/core/text_index.hpp"
#include "expert/data/filter.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/data/shapes.hpp"
#include "expert/io/gzip.hpp"

namespace cli {

using namespace expert;

struct Leaks {
  std::int64_t rows = 0, leaked = 0;  // of the test file
  std::int64_t first_line = 0;        // of the test file
};

// Rows are compared without their answers: the same question on the same schema is a leak, whatever was answered. Rows
// of ids have no question and are passed over. Throws what the reader and the shapes throw.
inline Leaks count_leaks(const std::string& test, const std::string& training, const RowOptions& options) {
  RowOptions ask = options;
  ask.needs_completion = false;
  const auto for_each_question = [&](const std::string& file, const auto& use) {
    const auto source = open_plain_or_gzip(file);
    JsonlReader reader(*source, file);
    for (JsonRow row; reader.next(row);) {
      if (row.value.find("input_ids") != nullptr) continue;
      use(row_key(read_example(row, file, ask)), row.line);
    }
  };
  TextIndex questions;
  std::vector<std::int32_t> question_of;  // by test row
  std::vector<std::int64_t> lines;
  for_each_question(test, [&](const std::string& key, std::int64_t line) {
    questions.insert(key, static_cast<std::int32_t>(questions.size()));
    question_of.push_back(questions.find(key));
    lines.push_back(line);
  });
  std::vector<bool> trained(questions.size());
  for_each_question(training, [&](const std::string& key, std::int64_t) {
    if (const std::int32_t question = questions.find(key); question >= 0)
      trained[static_cast<std::size_t>(question)] = true;
  });
  Leaks leaks{.rows = std::ssize(lines)};
  for (std::size_t i = 0; i < lines.size(); ++i)
    if (trained[static_cast<std::size_t>(question_of[i])] && leaks.leaked++ == 0) leaks.first_line = lines[i];
  return leaks;
}

}  // namespace cli
