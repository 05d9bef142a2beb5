// A tokenizer.json, and the vocabulary that a grammar masks: made once for all runs, where a directory keeps them.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "cli/common.hpp"
#include "expert/grammar/vocabulary_cache.hpp"
#include "expert/text/tokenizer_cache.hpp"

namespace cli {

// Here and below `cache` is a directory, or empty; what became of it is said.
inline Tokenizer load_tokenizer(const std::string& file, const std::string& cache, const Report& report) {
  CachedTokenizer read = cached_tokenizer(file, cache);
  if (!read.note.empty()) report.say(read.note);
  return std::move(read.tokenizer);
}

// The tokens of a tokenizer, over `size` rows of an embedding; special tokens are no text.
inline VocabularyTexts texts_of(const Tokenizer& tokenizer, std::int64_t size,
                                std::span<const std::int32_t> end_tokens) {
  return VocabularyTexts(size, end_tokens, [&](std::int32_t id) {
    return tokenizer.is_special(id) ? std::string_view() : tokenizer.token_bytes(id);
  });
}
inline Vocabulary load_vocabulary(VocabularyTexts texts, const std::string& cache, const Report& report) {
  CachedVocabulary made = cached_vocabulary(std::move(texts), cache);
  if (!made.note.empty()) report.say(made.note);
  return std::move(made.vocabulary);
}

}  // namespace cli
