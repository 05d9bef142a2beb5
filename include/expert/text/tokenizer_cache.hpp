// tokenizer.json and a directory of caches -> Tokenizer, whose tables are made once for all runs.
#pragma once
#include <unistd.h>

#include <optional>
#include <span>
#include <string>
#include <utility>

#include "expert/core/error.hpp"
#include "expert/core/image.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/core/threads.hpp"
#include "expert/io/cache_file.hpp"
#include "expert/json/read_file.hpp"
#include "expert/text/tokenizer.hpp"

namespace expert {
inline namespace v0 {

struct CachedTokenizer {
  Tokenizer tokenizer;
  std::string note;  // what became of the cache, as a line for the user; empty where the tokenizer came from it
};

// As Tokenizer::load with the default limits. The key is of the file's bytes, so a changed file is another key.
// `directory` empty: nothing is kept.
inline CachedTokenizer cached_tokenizer(const std::string& path, const std::string& directory) {
  if (directory.empty()) return {Tokenizer::load(path), {}};
  const std::string json = read_file(path, default_limits.tokenizer_bytes);
  ThreadPool pool(1);  // there is not so much to do that a second one would save time
  const std::string key = content_key("tokenizer 1", {std::as_bytes(std::span(json))}, pool);
  const std::string place = cache_path(read_tokenizers, directory, key);
  std::string note = "tokenizer: read";
  if (path_exists(place)) try {
      const CachedFile file(read_tokenizers, place, pool);
      if (std::optional<Tokenizer> known = Tokenizer::load_image(ImageReader(file.bytes())))
        return {std::move(*known), {}};
      file.damaged("a tokenizer", "what cannot be one");
    } catch (const Error& e) {
      ::unlink(place.c_str());
      note = joined({"tokenizer: read again, because ", e.what(), ";"});
    }
  Tokenizer tokenizer = Tokenizer::parse(json, path);
  ImageWriter image;
  tokenizer.save(image);
  note = keep_in_cache(read_tokenizers, directory, key, image.bytes(), pool, note);
  return {std::move(tokenizer), std::move(note)};
}

}  // namespace v0
}  // namespace expert
