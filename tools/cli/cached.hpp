// A tokenizer.json, and the vocabulary that a grammar masks: made once for all runs, where a directory keeps them.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "cli/common.hpp"
#include "expert/grammar/vocabulary_cache.hpp"
#include "expert/io/cache_file.hpp"
#include "expert/text/tokenizer_cache.hpp"

namespace cli {

inline void add_cache_option(CLI::App& command, std::string& directory, const std::string& what) {
  command.add_option("--cache", directory,
                     "directory that keeps " + what +
                         " for the next run, or none; default: $XDG_CACHE_HOME/expert or ~/.cache/expert");
}
// Of --cache; empty: nothing is kept, as where the environment names no directory.
inline std::string cache_directory(const std::string& flag) {
  if (flag == "none") return {};
  return flag.empty() ? default_cache_directory() : flag;
}

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
