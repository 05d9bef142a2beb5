// A way to make a value and a directory of caches -> the value, made once for all runs.
#pragma once
#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>

#include "expert/core/error.hpp"
#include "expert/core/image.hpp"
#include "expert/core/join.hpp"
#include "expert/core/threads.hpp"
#include "expert/io/cache_file.hpp"
#include "expert/io/files.hpp"
#include "expert/io/mapped_file.hpp"

namespace expert {
inline namespace v0 {

// {The value, what became of the cache as a line for the user}, which is empty where
// the value came from there. `verb`: "tokenizer: read". load(image, the file that it lies in) gives an optional, empty
// where the image cannot be a value; make() a value; save(value, writer) writes its image. A damaged file is removed
// and made again. Throws what make() throws.
template <class Result, class Load, class Make, class Save>
Result made_once(const CacheKind& kind, const std::string& directory, const std::string& key, std::string_view verb,
                 Load&& load, Make&& make, Save&& save) {
  ThreadPool pool(1);  // there is not so much to do that a second one would save time
  const std::string path = cache_path(kind, directory, key);
  std::string note(verb);
  if (path_exists(path)) try {
      MappedFile file = open_cached_file(kind, path, pool);
      if (auto known = load(ImageReader(cached_bytes(file)), std::move(file))) return {std::move(*known), {}};
      throw cache_damage(path, std::string(kind.name), "what cannot be that");
    } catch (const Error& e) {
      ::unlink(path.c_str());
      note = joined({verb, " again, because ", e.what(), ";"});
    }
  auto value = make();
  ImageWriter image;
  save(value, image);
  note = keep_in_cache(kind, directory, key, image.bytes(), pool, note);
  return {std::move(value), std::move(note)};
}

}  // namespace v0
}  // namespace expert
