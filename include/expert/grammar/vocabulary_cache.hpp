// VocabularyTexts and a directory of caches -> Vocabulary, whose tables are made once for all runs.
#pragma once
#include <unistd.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "expert/core/error.hpp"
#include "expert/core/image.hpp"
#include "expert/core/join.hpp"
#include "expert/core/threads.hpp"
#include "expert/grammar/vocabulary.hpp"
#include "expert/io/cache_file.hpp"

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
  const std::string place = cache_path(vocabulary_tables, directory, key);
  std::string note = "tables of the vocabulary: made";
  if (path_exists(place)) try {
      const auto file = std::make_shared<const MappedFile>(open_cached_file(vocabulary_tables, place, pool));
      if (std::optional<Vocabulary> known = Vocabulary::load(texts, ImageReader(cached_bytes(*file)), file))
        return {std::move(*known), {}};
      throw cache_damage(place, "tables of this vocabulary", "what cannot be them");
    } catch (const Error& e) {
      ::unlink(place.c_str());
      note = joined({"tables of the vocabulary: made again, because ", e.what(), ";"});
    }
  Vocabulary vocabulary(std::move(texts));
  ImageWriter image;
  vocabulary.save(image);
  note = keep_in_cache(vocabulary_tables, directory, key, image.bytes(), pool, note);
  return {std::move(vocabulary), std::move(note)};
}

}  // namespace v0
}  // namespace expert
