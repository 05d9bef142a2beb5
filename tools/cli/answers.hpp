// Prompts + a generator -> answers as text, each ended by an end token, a stop sequence or a limit, masked by a grammar
// where there is one.
#pragma once
#include <algorithm>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/jobs.hpp"
#include "expert/generate.hpp"
#include "expert/grammar/constraint.hpp"
#include "expert/grammar/name_binder.hpp"
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

// A schema as text, and what its errors name it.
struct PromptSchema {
  std::string text, name;
};

// The same grammar narrowed to schemas (docs/decisions/0008). At most `most` of them are kept: those asked for last.
class SchemaMasks {
 public:
  SchemaMasks(const GrammarSource& source, const Vocabulary& vocabulary, std::int64_t most)
      : binder_(source.parse()), vocabulary_(vocabulary), most_(static_cast<std::size_t>(most)) {}

  TokenMasks& of(const PromptSchema& schema) {
    const auto known =
        std::find_if(kept_.begin(), kept_.end(), [&](const auto& one) { return one->schema == schema.text; });
    if (known != kept_.end()) {
      kept_.splice(kept_.begin(), kept_, known);
    } else {
      kept_.push_front(std::make_unique<One>(schema.text, binder_.bind(schema.text, schema.name), vocabulary_));
      if (kept_.size() > most_) kept_.pop_back();
    }
    return kept_.front()->masks;
  }

 private:
  struct One {
    One(const std::string& text, const GrammarSyntax& grammar, const Vocabulary& vocabulary)
        : schema(text), automaton(grammar), masks(automaton, vocabulary) {}
    std::string schema;
    GrammarAutomaton automaton;
    TokenMasks masks;
  };

  NameBinder binder_;
  const Vocabulary& vocabulary_;
  std::size_t most_;
  std::list<std::unique_ptr<One>> kept_;  // the one asked for last is the first
};

// Each prompt follows the grammar of its own schema from its first token on. No more prompts than SchemaMasks keeps
// are decoded at once, so those in work are kept.
class SchemaConstraint {
 public:
  SchemaConstraint(GrammarConstraint& texts, SchemaMasks& masks, std::span<const PromptSchema> schemas)
      : texts_(texts), masks_(masks), schemas_(schemas), begun_(schemas.size()) {}

  std::span<const std::uint64_t> mask(std::size_t prompt) {
    if (!begun_[prompt]) texts_.use(prompt, masks_.of(schemas_[prompt]));
    begun_[prompt] = true;
    return texts_.mask(prompt);
  }
  std::vector<std::int32_t> forced(std::size_t prompt, std::int64_t limit) { return texts_.forced(prompt, limit); }
  bool accept(std::size_t prompt, std::int32_t token) { return texts_.accept(prompt, token); }

 private:
  GrammarConstraint& texts_;
  SchemaMasks& masks_;
  std::span<const PromptSchema> schemas_;
  std::vector<bool> begun_;
};

// What an answer must keep to. masks null: any text; bound null: the grammar as it is; else `schemas` has one for each
// prompt.
struct AnswerRules {
  GrammarMasks* masks = nullptr;
  SchemaMasks* bound = nullptr;
  std::span<const PromptSchema> schemas = {};
};

template <class E>
std::vector<Answer> answers_to(Generator<E>& generator, const Tokenizer& tokenizer,
                               std::span<const std::vector<std::int32_t>> prompts, const GenerateOptions& options,
                               const std::vector<std::string>& stop_sequences, const AnswerRules& rules = {}) {
  std::vector<Answer> answers;
  if (rules.masks != nullptr) {
    constexpr typename Generator<E>::GoOn go_on{};
    GrammarConstraint constraint(rules.masks->masks, prompts.size(), stop_sequences);
    std::vector<Generated> generated;
    if (rules.bound == nullptr)
      generated = generator.generate(prompts, options, go_on, constraint);
    else
      generated =
          generator.generate(prompts, options, go_on, SchemaConstraint(constraint, *rules.bound, rules.schemas));
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
