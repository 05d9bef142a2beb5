// Bytes -> a file that appears under its name only when it is complete and on the disk.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "expert/core/error.hpp"
#include "expert/io/files.hpp"

namespace expert {
inline namespace v0 {

// Writes to a temporary name in the same directory; commit() syncs, renames over `path` and syncs the directory.
// Without commit(), or when writing fails, nothing but the old file is left. Throws E203.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path) : path_(path) {
    if (path_.find('\0') != path_.npos || file_name_of(path_).empty())
      throw Error(file_unwritable,
                  {.file = expert::quoted(path_), .where = {}, .expected = "the name of a file", .got = {}, .fix = {}});
    fd_ = create_temporary(parent_of(path_), file_name_of(path_), O_WRONLY, 0666, temporary_);
    if (fd_ < 0) fail();
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }

  void write(std::span<const std::byte> bytes) {
    if (!write_all(fd_, bytes)) fail();
  }
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  // fsync before rename: else a crash could leave the new name with old or no bytes.
  void commit() {
    if (::fsync(fd_) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) fail();
    ::close(std::exchange(fd_, -1));
    const std::string parent = parent_of(path_);
    const int directory = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = directory >= 0 && ::fsync(directory) == 0;
    const int error = errno;
    if (directory >= 0) ::close(directory);
    errno = error;
    if (!synced && error != EINVAL) fail();  // EINVAL: a file system that cannot sync directories
  }

 private:
  [[noreturn]] void fail() const {
    throw Error(file_unwritable, {.file = path_, .where = {}, .expected = {}, .got = system_message(errno), .fix = {}});
  }

  std::string path_, temporary_;
  int fd_ = -1;
};

// The whole file at once.
inline void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace v0
}  // namespace expert
