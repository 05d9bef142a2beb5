// Paths as text, and what the system knows of them. <filesystem> would cost a quarter of what all of expert.hpp may
// take to compile; a std::filesystem::path converts to the strings that are wanted here by itself.
#pragma once
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/sort.hpp"
#include "expert/json/read_file.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode file_unwritable{203, "a file cannot be written"};

// directory/name
inline std::string path_in(const std::string& directory, std::string_view name) {
  std::string path = directory;
  if (!path.empty() && path.back() != '/') path += '/';
  path += name;
  return path;
}
// What stands behind the last slash: nothing for "a/".
inline std::string_view file_name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }
// "a" for "a/b", "/" for "/b", nothing for "b".
inline std::string parent_of(std::string_view path) {
  const std::size_t end = path.size() - file_name_of(path).size();
  return std::string(path.substr(0, end > 1 ? end - 1 : end));
}
// ".gz" for "a/b.gz"; nothing for names without a dot or with only one in front.
inline std::string_view extension_of(std::string_view path) {
  const std::string_view name = file_name_of(path);
  const std::size_t dot = name.rfind('.');
  return dot == name.npos || dot == 0 ? std::string_view() : name.substr(dot);
}

// A new file in `directory` under a name that nobody has, which `path` is set to; -1 with errno where there can be
// none. A crashed process may have left names behind.
inline int create_temporary(const std::string& directory, std::string_view stem, int access, mode_t mode,
                            std::string& path) {
  for (int attempt = 0;; ++attempt) {
    path = path_in(directory, joined({".", stem, ".", ::getpid(), ".", attempt, ".tmp"}));
    const int fd = ::open(path.c_str(), access | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd >= 0 || errno != EEXIST || attempt == 1000) return fd;
  }
}
// False with errno where not all could be written.
inline bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), std::min(bytes.size(), std::size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

inline bool path_exists(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0;
}
inline bool is_directory(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// With the directories that lead to it; it may be there already. Throws E203.
inline void make_directories(const std::string& path) {
  int error = path.empty() || path.find('\0') != path.npos ? EINVAL : 0;
  for (std::size_t at = 0; error == 0 && at != path.npos;) {
    at = path.find('/', at + 1);
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0777) == 0) continue;
    const int reason = errno == EEXIST ? ENOTDIR : errno;
    if (!is_directory(part)) error = reason;
  }
  if (error != 0)
    throw Error(file_unwritable, {.file = path,
                                  .expected = "a directory",
                                  .got = system_message(error),
                                  .fix = "Choose another output directory"});
}

// Sorted, without "." and "..". Throws E200.
inline std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  DIR* open = ::opendir(directory.c_str());
  if (open == nullptr) throw Error(file_unreadable, {.file = directory, .got = system_message(errno)});
  while (const dirent* entry = ::readdir(open))
    if (const std::string_view name = entry->d_name; name != "." && name != "..") names.emplace_back(name);
  ::closedir(open);
  sort_texts(names);
  return names;
}

}  // namespace v0
}  // namespace expert
