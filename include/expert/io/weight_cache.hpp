// Packed weights in a file, so that a base is quantised once: <directory>/<key>.packed, where the key is a hash of the
// checkpoint's safetensors headers, sizes and modification times, of the quantisation, and of the layout.
//   64 bytes: magic, then the key of 32 hexadecimal digits, then two u64: bytes and checksum of what follows
//   the packed matrices behind each other, each at a multiple of 64 bytes
// A file appears under its name when it is whole, under a lock of the directory; it is read only after size, key and
// checksum agree. A model directory is never written to.
#pragma once
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/arena.hpp"
#include "expert/core/error.hpp"
#include "expert/core/threads.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/io/checkpoint_dir.hpp"
#include "expert/io/files.hpp"
#include "expert/io/mapped_file.hpp"
#include "expert/io/sha256.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode cached_weights_damaged{204, "a file of the weight cache is damaged"};

inline constexpr std::string_view packed_suffix = ".packed";

// $XDG_CACHE_HOME/expert, else ~/.cache/expert; empty where neither is set.
inline std::string default_cache_directory() {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  if (xdg != nullptr && xdg[0] == '/') return path_in(xdg, "expert");
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return path_in(home, ".cache/expert");
  return {};
}

namespace detail {

struct PackedHeader {
  std::array<char, 16> magic{'e', 'x', 'p', 'e', 'r', 't', ' ', 'p', 'a', 'c', 'k', 'e', 'd', '\n', 0, 1};
  std::array<char, 32> key{};
  std::uint64_t bytes = 0, checksum = 0;
};
static_assert(sizeof(PackedHeader) == arena_alignment);

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

// A file of the cache that is whole and has its key and, where `bytes` is not negative, that many bytes of matrices.
// Throws E204 saying what is wrong, E200, E201.
inline MappedFile open_cached_weights(const std::string& path, ThreadPool& pool, std::int64_t bytes = -1) {
  MappedFile file(path);
  const auto damaged = [&](std::string expected, std::string got) -> Error {
    return {cached_weights_damaged, ErrorDetail{.file = path,
                                                .expected = std::move(expected),
                                                .got = std::move(got),
                                                .fix = "Remove the file; it is made again when it is needed"}};
  };
  detail::PackedHeader header;
  const auto magic = header.magic;
  if (file.bytes().size() < sizeof header) throw damaged("at least 64 bytes", joined({file.bytes().size()}));
  std::memcpy(static_cast<void*>(&header), file.bytes().data(), sizeof header);
  const std::span<const std::byte> matrices = file.bytes().subspan(sizeof header);
  const std::string_view name = file_name_of(path);
  if (header.magic != magic) throw damaged("packed weights of this version", "other bytes at its beginning");
  if (name.substr(0, name.find('.')).compare(std::string_view(header.key.data(), header.key.size())) != 0)
    throw damaged("the key in its name", std::string(header.key.data(), header.key.size()));
  if (header.bytes != matrices.size() || (bytes >= 0 && std::cmp_not_equal(bytes, matrices.size())))
    throw damaged(joined({bytes >= 0 ? static_cast<std::uint64_t>(bytes) : header.bytes, " bytes of matrices"}),
                  joined({matrices.size()}));
  if (detail::checksum_of(matrices, pool) != header.checksum) throw damaged("its checksum", "another");
  return file;
}

// Writes the matrices, which lie at multiples of 64 bytes of one another's end, under the directory's lock; false where
// another process holds it. Throws E203.
inline bool write_cached_weights(const std::string& directory, const std::string& key,
                                 std::span<const std::byte> matrices, ThreadPool& pool) {
  make_directories(directory);
  const std::string lock_name = path_in(directory, ".lock");
  const int lock = ::open(lock_name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock < 0) throw Error(file_unwritable, {.file = lock_name, .got = system_message(errno)});
  struct Unlock {
    int fd;
    ~Unlock() { ::close(fd); }
  } const unlock{lock};
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) return false;
  detail::PackedHeader header;
  std::memcpy(header.key.data(), key.data(), header.key.size());
  header.bytes = matrices.size();
  header.checksum = detail::checksum_of(matrices, pool);
  AtomicFile file(path_in(directory, key + std::string(packed_suffix)));
  file.write(std::as_bytes(std::span(&header, 1)));
  file.write(matrices);
  file.commit();
  return true;
}

// Paths of the files of a cache; none where the directory does not exist. Throws E200.
inline std::vector<std::string> cached_weight_files(const std::string& directory) {
  std::vector<std::string> paths;
  if (!is_directory(directory)) return paths;
  for (const std::string& name : names_in(directory))
    if (name.size() == 32 + packed_suffix.size() && name.ends_with(packed_suffix))
      paths.push_back(path_in(directory, name));
  return paths;
}

}  // namespace v0
}  // namespace expert
