// The texts of tokens and a directory of caches -> Vocabulary, whose tables are made once for all runs.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "expert/core/image.hpp"
#include "expert/core/join.hpp"
#include "expert/grammar/vocabulary.hpp"
#include "expert/io/cache_file.hpp"
#include "expert/io/made_once.hpp"
#include "expert/io/mapped_file.hpp"

namespace expert {
inline namespace v0 {

struct CachedVocabulary {
  Vocabulary vocabulary;
  std::string note;  // what became of the cache, as a line for the user; empty where the tables came from it
};

// As Vocabulary(make_texts()), of `size` ids with these end tokens. `tokens` names what the bytes of every token follow
// from, as CachedTokenizer::key: what has the same name must have the same bytes. Either empty: nothing is kept.
template <class MakeTexts>
CachedVocabulary cached_vocabulary(std::string_view tokens, std::int64_t size, std::span<const std::int32_t> end_tokens,
                                   const std::string& directory, MakeTexts&& make_texts) {
  if (directory.empty() || tokens.empty()) return {Vocabulary(make_texts()), {}};
  const std::string key =
      content_key(joined({"vocabulary 3 of ", size}), {std::as_bytes(std::span(tokens)), std::as_bytes(end_tokens)});
  return made_once<CachedVocabulary>(
      vocabulary_tables, directory, key, "tables of the vocabulary: made",
      [](const ImageReader& image, MappedFile&& file) {
        return Vocabulary::load(image, std::make_shared<const MappedFile>(std::move(file)));
      },
      [&] { return Vocabulary(make_texts()); },
      [](const Vocabulary& vocabulary, ImageWriter& image) { vocabulary.save(image); });
}

}  // namespace v0
}  // namespace expert
