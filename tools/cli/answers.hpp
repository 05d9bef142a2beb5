// Prompts + a generator -> answers as text, each ended by an end token, a stop sequence or a limit.
#pragma once
#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "expert/generate.hpp"
#include "expert/text/tokenizer.hpp"

namespace cli {

using namespace expert;

// Where the first stop sequence begins in the text, or npos. A sequence may begin in one token and end in another.
inline std::size_t find_stop(const std::string& text, const std::vector<std::string>& stop_sequences) {
  std::size_t first = std::string::npos;
  for (const std::string& stop : stop_sequences) first = std::min(first, text.find(stop));
  return first;
}

struct Answer {
  std::string text;  // without special tokens and without the stop sequence that ended it
  StopReason stop_reason = StopReason::length;
  std::int64_t tokens = 0;
};

template <class E>
std::vector<Answer> answers_to(Generator<E>& generator, const Tokenizer& tokenizer,
                               std::span<const std::vector<std::int32_t>> prompts, const GenerateOptions& options,
                               const std::vector<std::string>& stop_sequences) {
  const auto on_token = [&](std::size_t, std::span<const std::int32_t> ids) {
    return stop_sequences.empty() || find_stop(tokenizer.decode(ids, true), stop_sequences) == std::string::npos;
  };
  std::vector<Answer> answers;
  for (const Generated& generated : generator.generate(prompts, options, on_token)) {
    std::string text = tokenizer.decode(generated.ids, true);
    text.resize(std::min(text.size(), find_stop(text, stop_sequences)));
    answers.push_back({std::move(text), generated.stop_reason, std::ssize(generated.ids)});
  }
  return answers;
}

}  // namespace cli
