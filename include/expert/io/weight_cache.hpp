// Checkpoint -> the key under which its packed weights lie in a cache (io/cache_file.hpp), so that a base is quantised
// once: a hash of the safetensors headers, sizes and modification times, of the quantisation, and of the layout. The
// packed matrices lie behind each other, each at a multiple of 64 bytes.
#pragma once
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/io/checkpoint_dir.hpp"
#include "expert/io/sha256.hpp"

namespace expert {
inline namespace v0 {

// The key of a checkpoint's weights as `quantisation` (with all its numbers) stores them. Throws E200.
inline std::string weight_cache_key(const Checkpoint& checkpoint, std::string_view quantisation) {
  constexpr std::string_view layout = "packed layout 1";  // of ops/packed.hpp; another number where bytes would differ
  Sha256 hash;
  const auto add = [&](std::string_view text) {
    hash.update(joined({text.size(), ":"}));
    hash.update(text);
  };
  add(layout);
  add(quantisation);
  for (const SafetensorsFile& file : checkpoint.files()) {
    struct stat status{};
    if (::stat(file.name().c_str(), &status) != 0)
      throw Error(file_unreadable, {.file = file.name(), .got = system_message(errno)});
    add(joined({static_cast<std::int64_t>(status.st_size), " ", static_cast<std::int64_t>(status.st_mtim.tv_sec), " ",
                static_cast<std::int64_t>(status.st_mtim.tv_nsec)}));
    add(file.header());
  }
  return hash.hex().substr(0, 32);
}

}  // namespace v0
}  // namespace expert
