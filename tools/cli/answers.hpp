// Prompts + a generator -> answers as text, each ended by an end token, a stop sequence or a limit, masked by a grammar
// where there is one.
#pragma once
#include <algorithm>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/jobs.hpp"
#include "cli/settled_text.hpp"
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

// A grammar over a model's tokens. Not to be moved: the masks name the others.
struct GrammarMasks {
  GrammarMasks(GrammarAutomaton of_grammar, Vocabulary of_model)
      : automaton(std::move(of_grammar)), vocabulary(std::move(of_model)), masks(automaton, vocabulary) {}
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
  bool fits(std::size_t prompt, std::int32_t token) { return texts_.fits(prompt, token); }
  bool accept(std::size_t prompt, std::int32_t token) { return texts_.accept(prompt, token); }

 private:
  GrammarConstraint& texts_;
  SchemaMasks& masks_;
  std::span<const PromptSchema> schemas_;
  std::vector<bool> begun_;
};

// What an answer must keep to. masks null: any text; bound null: the grammar as it is; else `schemas` has one for each
// prompt. names_once: the texts are JSON without a name twice in an object.
struct AnswerRules {
  GrammarMasks* masks = nullptr;
  SchemaMasks* bound = nullptr;
  std::span<const PromptSchema> schemas = {};
  bool names_once = false;
};

// Who watches answers while they are made; what is empty is not called.
struct AnswerEvents {
  std::function<void(std::size_t prompt, std::string_view text)> grew = {};  // by what no later token takes away
  std::function<void(std::size_t prompt, const Answer&)> ended = {};         // behind the last of its text
  std::function<bool()> goes_on = {};                                        // false ends the answers that are made
};

// What Generator::generate calls: two functions as one object.
template <class Token, class End>
struct TokenEvents {
  Token token;
  End end;
  bool operator()(std::size_t prompt, std::span<const std::int32_t> ids) const { return token(prompt, ids); }
  void ended(std::size_t prompt, const Generated& generated) const { end(prompt, generated); }
};
template <class Token, class End>
TokenEvents(Token, End) -> TokenEvents<Token, End>;  // clang 14 does not deduce it

template <class E>
std::vector<Answer> answers_to(Generator<E>& generator, const Tokenizer& tokenizer,
                               std::span<const std::vector<std::int32_t>> prompts, const GenerateOptions& options,
                               const std::vector<std::string>& stop_sequences, const AnswerRules& rules = {},
                               const AnswerEvents& events = {}) {
  std::vector<Answer> answers(prompts.size());
  std::vector<SettledText> settled(events.grew ? prompts.size() : 0, SettledText(stop_sequences));
  const auto grew = [&](std::size_t prompt, const std::string& text) {
    if (!text.empty()) events.grew(prompt, text);
  };
  const auto goes_on = [&] { return !events.goes_on || events.goes_on(); };
  const auto ended = [&](std::size_t prompt, Answer answer) {
    if (events.grew) grew(prompt, settled[prompt].finish(answer.text));
    if (events.ended) events.ended(prompt, answer);
    answers[prompt] = std::move(answer);
  };
  if (rules.masks != nullptr) {
    GrammarConstraint constraint(rules.masks->masks, prompts.size(), stop_sequences, options.max_new_tokens);
    if (rules.names_once) constraint.refuse_repeated_names();
    const TokenEvents on_token{[&](std::size_t prompt, std::span<const std::int32_t>) {
                                 if (events.grew) grew(prompt, settled[prompt].grow(constraint.text(prompt)));
                                 return goes_on();
                               },
                               [&](std::size_t prompt, const Generated& generated) {
                                 ended(prompt,
                                       {utf8_lossy(constraint.text(prompt)),
                                        constraint.was_closed(prompt) ? StopReason::length : generated.stop_reason,
                                        constraint.stopped_by(prompt), std::ssize(generated.ids)});
                               }};
    if (rules.bound == nullptr)
      generator.generate(prompts, options, on_token, constraint);
    else
      generator.generate(prompts, options, on_token, SchemaConstraint(constraint, *rules.bound, rules.schemas));
    return answers;
  }
  const auto bytes_of = [&](std::span<const std::int32_t> ids) {
    std::string bytes;
    for (const std::int32_t id : ids)
      if (!tokenizer.is_special(id)) bytes += tokenizer.token_bytes(id);
    return bytes;
  };
  const TokenEvents on_token{
      [&](std::size_t prompt, std::span<const std::int32_t> ids) {
        if (stop_sequences.empty() && !events.grew) return goes_on();
        const std::string bytes = bytes_of(ids);
        if (!find_stop(utf8_lossy(bytes), stop_sequences).sequence.empty()) return false;
        if (events.grew) grew(prompt, settled[prompt].grow(bytes));
        return goes_on();
      },
      [&](std::size_t prompt, const Generated& generated) {
        std::string text = utf8_lossy(bytes_of(generated.ids));
        const StopPlace stop = find_stop(text, stop_sequences);
        text.resize(std::min(text.size(), stop.at));
        ended(prompt, {std::move(text), generated.stop_reason, stop.sequence, std::ssize(generated.ids)});
      }};
  generator.generate(prompts, options, on_token);
  return answers;
}

}  // namespace cli
