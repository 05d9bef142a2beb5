// VocabularyTexts and a directory of caches -> Vocabulary, whose tables are made once for all runs.
#pragma once
#include <span>
#include <string>
#include <utility>

#include "expert/core/image.hpp"
#include "expert/core/threads.hpp"
#include "expert/grammar/vocabulary.hpp"
#include "expert/io/cache_file.hpp"
#include "expert/io/made_once.hpp"

namespace expert {
inline namespace v0 {

struct CachedVocabulary {
  Vocabulary vocabulary;
  std::string note;  // what became of the cache, as a line for the user; empty where the tables came from it
};

// The key is of the texts and of the end tokens. `directory` empty: nothing is kept.
inline CachedVocabulary cached_vocabulary(VocabularyTexts texts, const std::string& directory) {
  if (directory.empty()) return {Vocabulary(std::move(texts)), {}};
  ThreadPool pool(1);  // there is not so much to do that a second one would save time
  const std::string key = content_key("vocabulary 1",
                                      {std::as_bytes(std::span(texts.begin)), std::as_bytes(std::span(texts.bytes)),
                                       std::as_bytes(std::span(texts.end_tokens))},
                                      pool);
  return made_once<CachedVocabulary>(
      vocabulary_tables, directory, key, pool, "tables of the vocabulary: made",
      [&](const ImageReader& image, const auto& keeper) { return Vocabulary::load(texts, image, keeper); },
      [&] { return Vocabulary(std::move(texts)); },
      [](const Vocabulary& vocabulary, ImageWriter& image) { vocabulary.save(image); });
}

}  // namespace v0
}  // namespace expert
