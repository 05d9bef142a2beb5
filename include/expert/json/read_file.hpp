// Path -> the bytes of a regular file: opened once, its kind and size taken from the open handle, never read past a
// cap.
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode file_unreadable{200, "a file cannot be read"};
inline constexpr ErrorCode file_not_regular{201, "a path is not a regular file"};
inline constexpr ErrorCode file_too_large{202, "a file is larger than its limit"};

// A read-only descriptor of a regular file with its size when it was opened. Throws E200, E201.
class OpenFile {
 public:
  // O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever; regular files ignore the flag.
  explicit OpenFile(const std::string& path) : name_(path) {
    if (name_.find('\0') != std::string::npos)
      throw Error(
          file_unreadable,
          {.file = expert::quoted(name_), .where = {}, .expected = "a path", .got = "a NUL byte in it", .fix = {}});
    fd_ = ::open(name_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd_ < 0) fail();
    struct stat status{};
    if (::fstat(fd_, &status) != 0) fail_and_close();
    if (!S_ISREG(status.st_mode)) {
      ::close(fd_);
      throw Error(file_not_regular, {.file = name_,
                                     .where = {},
                                     .expected = "a regular file",
                                     .got = S_ISDIR(status.st_mode)    ? "a directory"
                                            : S_ISFIFO(status.st_mode) ? "a pipe"
                                                                       : "a device or socket",
                                     .fix = {}});
    }
    size_ = status.st_size;
  }
  OpenFile(OpenFile&& other) noexcept
      : name_(std::move(other.name_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }

  const std::string& name() const noexcept { return name_; }
  int fd() const noexcept { return fd_; }
  std::int64_t size() const noexcept { return size_; }

  // Throws E200 with errno's text.
  [[noreturn]] void fail() const {
    throw Error(file_unreadable, {.file = name_, .where = {}, .expected = {}, .got = system_message(errno), .fix = {}});
  }

 private:
  [[noreturn]] void fail_and_close() const {
    const int error = errno;
    ::close(fd_);
    errno = error;
    fail();
  }

  std::string name_;
  int fd_ = -1;
  std::int64_t size_ = 0;
};

// The whole file. Throws E200, E201, and E202 where it is larger than max_bytes (before any memory is taken for it).
inline std::string read_file(const std::string& path, std::int64_t max_bytes) {
  const OpenFile file(path);
  const auto check = [&](std::int64_t size) {
    if (size > max_bytes)
      throw Error(file_too_large, {.file = file.name(),
                                   .where = {},
                                   .expected = joined({"at most ", max_bytes, " bytes"}),
                                   .got = joined({size, " or more"}),
                                   .fix = {}});
  };
  check(file.size());
  std::string bytes;
  std::size_t filled = 0;
  for (;;) {  // until end of file, not until size(): files of /proc state 0, and a file may grow
    bytes.resize(filled + static_cast<std::size_t>(filled == 0 ? file.size() + 1 : 65536));
    const ssize_t n = ::read(file.fd(), bytes.data() + filled, bytes.size() - filled);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) file.fail();
    filled += static_cast<std::size_t>(n);
    check(static_cast<std::int64_t>(filled));
    if (n == 0) break;
  }
  bytes.resize(filled);
  return bytes;
}

}  // namespace v0
}  // namespace expert
