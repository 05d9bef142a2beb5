// Bytes under a key <-> a file in a directory of caches: <directory>/<key><suffix of the kind>.
//   64 bytes: magic of the kind, the key of 32 hexadecimal digits, two u64: bytes and checksum of what follows
//   the bytes
// A file appears under its name when it is whole, under a lock of the directory; it is read only after size, key and
// checksum agree. A model directory is never written to.
#pragma once
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/threads.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/io/files.hpp"
#include "expert/io/mapped_file.hpp"
#include "expert/io/sha256.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode cached_file_damaged{204, "a file of a cache is damaged"};

// Another magic where bytes would be laid out differently.
struct CacheKind {
  std::string_view name, suffix;
  std::array<char, 16> magic;
};
inline constexpr CacheKind packed_weights{
    "packed weights", ".packed", {'e', 'x', 'p', 'e', 'r', 't', ' ', 'p', 'a', 'c', 'k', 'e', 'd', '\n', 0, 1}};
inline constexpr CacheKind read_tokenizers{
    "a tokenizer", ".tokenizer", {'e', 'x', 'p', 'e', 'r', 't', ' ', 't', 'o', 'k', 'e', 'n', 's', '\n', 0, 1}};
inline constexpr CacheKind vocabulary_tables{
    "tables of a vocabulary",
    ".vocabulary",
    {'e', 'x', 'p', 'e', 'r', 't', ' ', 't', 'a', 'b', 'l', 'e', 's', '\n', 0, 1}};
inline constexpr CacheKind compiled_grammars{
    "a compiled grammar", ".grammar", {'e', 'x', 'p', 'e', 'r', 't', ' ', 'g', 'r', 'a', 'm', 'm', 'a', 'r', '\n', 1}};

// $XDG_CACHE_HOME/expert, else ~/.cache/expert; empty where neither is set.
inline std::string default_cache_directory() {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  if (xdg != nullptr && xdg[0] == '/') return path_in(xdg, "expert");
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return path_in(home, ".cache/expert");
  return {};
}

namespace detail {

struct CacheHeader {
  std::array<char, 16> magic{};
  std::array<char, 32> key{};
  std::uint64_t bytes = 0, checksum = 0;
};
static_assert(sizeof(CacheHeader) == 64);  // so that what follows keeps the alignment of the mapped page

// Against damage, not against malice: eight sums of 64 bits, so that it runs at the speed of memory.
inline std::uint64_t checksum_of(std::span<const std::byte> bytes, std::uint64_t seed) noexcept {
  std::uint64_t lanes[8];
  for (std::uint64_t i = 0; i < 8; ++i) lanes[i] = seed + i * 0x9e3779b97f4a7c15u;
  std::size_t at = 0;
  for (; at + 64 <= bytes.size(); at += 64) {
    std::uint64_t words[8];
    std::memcpy(words, bytes.data() + at, 64);
    for (int i = 0; i < 8; ++i) lanes[i] = (lanes[i] ^ words[i]) * 0xff51afd7ed558ccdu;
  }
  std::uint64_t sum = bytes.size();
  for (; at < bytes.size(); ++at) sum = (sum ^ static_cast<std::uint64_t>(bytes[at])) * 0x100000001b3u;
  for (const std::uint64_t lane : lanes) sum = ((sum ^ lane) * 0xc4ceb9fe1a85ec53u) ^ (lane >> 29);
  return sum;
}

// Over pieces that the pool shares; a piece's place is part of its sum.
inline std::uint64_t checksum_of(std::span<const std::byte> bytes, ThreadPool& pool, std::uint64_t seed = 0) {
  constexpr std::size_t piece = std::size_t{1} << 20;
  std::vector<std::uint64_t> sums((bytes.size() + piece - 1) / piece);
  pool.parallel_for(static_cast<std::int64_t>(sums.size()), [&](std::int64_t i, int) noexcept {
    const std::size_t first = static_cast<std::size_t>(i) * piece;
    sums[static_cast<std::size_t>(i)] =
        checksum_of(bytes.subspan(first, std::min(piece, bytes.size() - first)), seed + static_cast<std::uint64_t>(i));
  });
  std::uint64_t sum = seed;
  for (const std::uint64_t s : sums) sum = (sum ^ s) * 0xff51afd7ed558ccdu + (s >> 32);
  return sum;
}

}  // namespace detail

// The key of what is made from these bytes and nothing else; another `layout` is another key.
inline std::string content_key(std::string_view layout, std::initializer_list<std::span<const std::byte>> parts) {
  ThreadPool pool(1);  // there is not so much to do that a second one would save time
  Sha256 hash;
  hash.update(layout);
  for (const auto part : parts)
    hash.update(
        joined({" ", part.size(), " ", detail::checksum_of(part, pool, 1), " ", detail::checksum_of(part, pool, 2)}));
  return hash.hex().substr(0, 32);
}

// Where the bytes of a key lie.
inline std::string cache_path(const CacheKind& kind, const std::string& directory, const std::string& key) {
  return path_in(directory, joined({key, kind.suffix}));
}

// What is thrown where a file of a cache cannot be what it should be.
inline Error cache_damage(const std::string& path, std::string expected, std::string got) {
  return {cached_file_damaged, ErrorDetail{.file = path,
                                           .expected = std::move(expected),
                                           .got = std::move(got),
                                           .fix = "Remove the file; it is made again when it is needed"}};
}

// What stands behind the header.
inline std::span<const std::byte> cached_bytes(const MappedFile& file) {
  return file.bytes().subspan(sizeof(detail::CacheHeader));
}
// A file of a cache that is whole and has its key and, where `bytes` is not negative, that many bytes behind its
// header. Throws E204 saying what is wrong, E200, E201.
inline MappedFile open_cached_file(const CacheKind& kind, const std::string& path, ThreadPool& pool,
                                   std::int64_t bytes = -1) {
  MappedFile file(path);
  detail::CacheHeader header;
  if (file.bytes().size() < sizeof header) throw cache_damage(path, "at least 64 bytes", joined({file.bytes().size()}));
  std::memcpy(static_cast<void*>(&header), file.bytes().data(), sizeof header);
  const std::size_t found = cached_bytes(file).size();
  const std::string_view name = file_name_of(path);
  if (header.magic != kind.magic)
    throw cache_damage(path, joined({kind.name, " of this version"}), "other bytes at its beginning");
  if (name.substr(0, name.find('.')).compare(std::string_view(header.key.data(), header.key.size())) != 0)
    throw cache_damage(path, "the key in its name", std::string(header.key.data(), header.key.size()));
  if (header.bytes != found || (bytes >= 0 && std::cmp_not_equal(bytes, found)))
    throw cache_damage(
        path, joined({bytes >= 0 ? static_cast<std::uint64_t>(bytes) : header.bytes, " bytes behind the first 64"}),
        joined({found}));
  if (detail::checksum_of(cached_bytes(file), pool) != header.checksum)
    throw cache_damage(path, "its checksum", "another");
  return file;
}

// Keeps bytes under their key, under the directory's lock; false where another process holds it. Throws E203.
inline bool write_cached_file(const CacheKind& kind, const std::string& directory, const std::string& key,
                              std::span<const std::byte> bytes, ThreadPool& pool) {
  make_directories(directory);
  const std::string lock_name = path_in(directory, ".lock");
  const int lock = ::open(lock_name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock < 0) throw Error(file_unwritable, {.file = lock_name, .got = system_message(errno)});
  struct Unlock {
    int fd;
    ~Unlock() { ::close(fd); }
  } const unlock{lock};
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) return false;
  detail::CacheHeader header{kind.magic, {}, bytes.size(), detail::checksum_of(bytes, pool)};
  std::memcpy(header.key.data(), key.data(), std::min(key.size(), header.key.size()));
  AtomicFile file(cache_path(kind, directory, key));
  file.write(std::as_bytes(std::span(&header, 1)));
  file.write(bytes);
  file.commit();
  return true;
}
// The same for a run that needs no cache: what became of it, as a line for the user that begins with `what`.
inline std::string keep_in_cache(const CacheKind& kind, const std::string& directory, const std::string& key,
                                 std::span<const std::byte> bytes, ThreadPool& pool, std::string_view what) {
  try {
    if (write_cached_file(kind, directory, key, bytes, pool)) return joined({what, " and kept in ", directory});
    return joined({what, ", not kept, another process writes to ", directory});
  } catch (const Error& e) {  // a full disk must not stop it
    return joined({what, ", not kept, ", e.what()});
  }
}

// Of what kind the file of a cache is by its name; null where it is none.
inline const CacheKind* cache_kind_of(std::string_view path) {
  const std::string_view name = file_name_of(path);
  for (const CacheKind* kind : {&packed_weights, &read_tokenizers, &vocabulary_tables, &compiled_grammars})
    if (name.size() == 32 + kind->suffix.size() && name.ends_with(kind->suffix)) return kind;
  return nullptr;
}
// Paths of the files of a cache; none where the directory does not exist. Throws E200.
inline std::vector<std::string> cached_files(const std::string& directory) {
  std::vector<std::string> paths;
  if (!is_directory(directory)) return paths;
  for (const std::string& name : names_in(directory))
    if (cache_kind_of(name) != nullptr) paths.push_back(path_in(directory, name));
  return paths;
}

}  // namespace v0
}  // namespace expert
