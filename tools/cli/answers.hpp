// Prompts + a generator -> answers as text, each ended by an end token, a stop sequence or a limit, masked by a grammar
// where there is one.
#pragma once
#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "cli/jobs.hpp"
#include "expert/generate.hpp"
#include "expert/grammar/constraint.hpp"
#include "expert/text/tokenizer.hpp"
#include "expert/text/unicode.hpp"

namespace cli {

using namespace expert;

struct Answer {
  std::string text;  // without special tokens and without the stop sequence that ended it
  StopReason stop_reason = StopReason::length;
  std::string stop_sequence;  // the one that ended it, or an empty text
  std::int64_t tokens = 0;
};

// Where the first stop sequence begins in the text, and which it is; npos and an empty text where there is none. A
// sequence may begin in one token and end in another.
struct StopPlace {
  std::size_t at = std::string::npos;
  std::string sequence = {};
};
inline StopPlace find_stop(const std::string& text, const std::vector<std::string>& stop_sequences) {
  StopPlace first;
  for (const std::string& stop : stop_sequences)
    if (const std::size_t at = text.find(stop); at < first.at) first = {at, stop};
  return first;
}

// The tokens of a tokenizer, over `size` rows of an embedding; special tokens are no text.
inline Vocabulary vocabulary_of(const Tokenizer& tokenizer, std::int64_t size,
                                std::span<const std::int32_t> end_tokens) {
  return Vocabulary(size, end_tokens, [&](std::int32_t id) {
    return tokenizer.is_special(id) ? std::string_view() : tokenizer.token_bytes(id);
  });
}

// A grammar over a model's tokens. Not to be moved: the masks name the others.
struct GrammarMasks {
  GrammarMasks(const GrammarSource& source, const Tokenizer& tokenizer, std::int64_t vocab_size,
               std::span<const std::int32_t> end_tokens)
      : automaton(source.parse()),
        vocabulary(vocabulary_of(tokenizer, vocab_size, end_tokens)),
        masks(automaton, vocabulary) {}
  GrammarMasks(const GrammarMasks&) = delete;
  GrammarMasks& operator=(const GrammarMasks&) = delete;

  GrammarAutomaton automaton;
  Vocabulary vocabulary;
  TokenMasks masks;
};

// masks null: any text.
template <class E>
std::vector<Answer> answers_to(Generator<E>& generator, const Tokenizer& tokenizer,
                               std::span<const std::vector<std::int32_t>> prompts, const GenerateOptions& options,
                               const std::vector<std::string>& stop_sequences, GrammarMasks* masks = nullptr) {
  std::vector<Answer> answers;
  if (masks != nullptr) {
    GrammarConstraint constraint(masks->masks, prompts.size(), stop_sequences);
    const auto generated = generator.generate(prompts, options, typename Generator<E>::GoOn{}, constraint);
    for (std::size_t i = 0; i < generated.size(); ++i)
      answers.push_back({utf8_lossy(constraint.text(i)), generated[i].stop_reason, constraint.stopped_by(i),
                         std::ssize(generated[i].ids)});
    return answers;
  }
  const auto on_token = [&](std::size_t, std::span<const std::int32_t> ids) {
    return stop_sequences.empty() || find_stop(tokenizer.decode(ids, true), stop_sequences).sequence.empty();
  };
  for (const Generated& generated : generator.generate(prompts, options, on_token)) {
    std::string text = tokenizer.decode(generated.ids, true);
    const StopPlace stop = find_stop(text, stop_sequences);
    text.resize(std::min(text.size(), stop.at));
    answers.push_back({std::move(text), generated.stop_reason, stop.sequence, std::ssize(generated.ids)});
  }
  return answers;
}

}  // namespace cli
