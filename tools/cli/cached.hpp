// A tokenizer.json, the vocabulary that a grammar masks, and the grammar: made once for all runs, where a directory
// keeps them.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "cli/answers.hpp"
#include "cli/common.hpp"
#include "cli/jobs.hpp"
#include "expert/grammar/automaton_cache.hpp"
#include "expert/grammar/vocabulary_cache.hpp"
#include "expert/text/tokenizer_cache.hpp"

namespace cli {

// What became of a cache, where it is something to say.
inline void say_note(const Report& report, const std::string& note) {
  if (!note.empty()) report.say(note);
}

// Here and below `cache` is a directory, or empty.
inline Tokenizer load_tokenizer(const std::string& file, const std::string& cache, const Report& report) {
  CachedTokenizer read = cached_tokenizer(file, cache);
  say_note(report, read.note);
  return std::move(read.tokenizer);
}

// The tokens of a tokenizer, over `size` rows of an embedding; special tokens are no text.
inline VocabularyTexts texts_of(const Tokenizer& tokenizer, std::int64_t size,
                                std::span<const std::int32_t> end_tokens) {
  return VocabularyTexts(size, end_tokens, [&](std::int32_t id) {
    return tokenizer.is_special(id) ? std::string_view() : tokenizer.token_bytes(id);
  });
}
inline CachedVocabulary vocabulary_of(const CachedTokenizer& read, std::int64_t size,
                                      std::span<const std::int32_t> end_tokens, const std::string& cache) {
  return cached_vocabulary(read.key, size, end_tokens, cache,
                           [&] { return texts_of(read.tokenizer, size, end_tokens); });
}

// As GrammarAutomaton(source.parse()). Of grammars the program's own are kept: they are few, and the largest.
inline CachedAutomaton compiled(const GrammarSource& source, const std::string& cache) {
  if (source.built_in) return cached_automaton(source.text, source.name, cache);
  return {GrammarAutomaton(source.parse()), {}};
}

// A grammar over the tokens of a tokenizer. `note` is called with what became of the caches.
template <class Note>
std::unique_ptr<GrammarMasks> grammar_masks(const GrammarSource& source, const CachedTokenizer& read, std::int64_t size,
                                            std::span<const std::int32_t> end_tokens, const std::string& cache,
                                            Note&& note) {
  CachedVocabulary vocabulary = vocabulary_of(read, size, end_tokens, cache);
  CachedAutomaton automaton = compiled(source, cache);
  note(vocabulary.note);
  note(automaton.note);
  return std::make_unique<GrammarMasks>(std::move(automaton.automaton), std::move(vocabulary.vocabulary));
}

}  // namespace cli
