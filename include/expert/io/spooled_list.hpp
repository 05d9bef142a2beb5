// A list that is first appended to and then read: in memory, or in a file that has no name and goes with the list.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/io/files.hpp"

namespace expert {
inline namespace v0 {

// The file is mapped when it is complete: what is read of it is the page cache's, which the system takes back when
// memory runs short. It is removed as soon as it is open, so that no end of the program leaves it behind.
template <class T>
class SpooledList {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  SpooledList() = default;  // in memory
  // In a file of `directory`. Throws E203, here and while it is filled.
  explicit SpooledList(std::string directory) : directory_(std::move(directory)) {
    std::string path;
    fd_ = create_temporary(directory_, "spool", O_RDWR, 0600, path);
    if (fd_ < 0) fail();
    ::unlink(path.c_str());
  }
  // A list in a file is copied when it is finished; both read the one file.
  SpooledList(const SpooledList& other) : SpooledList() {
    directory_ = other.directory_, values_ = other.values_, size_ = other.size_;
    if (other.fd_ < 0) return;
    fd_ = ::fcntl(other.fd_, F_DUPFD_CLOEXEC, 0);
    if (fd_ < 0) fail();
    map();
  }
  SpooledList(SpooledList&& other) noexcept { swap(other); }
  SpooledList& operator=(SpooledList other) noexcept {
    swap(other);
    return *this;
  }
  ~SpooledList() {
    if (mapped_ != nullptr) ::munmap(const_cast<T*>(mapped_), size_ * sizeof(T));
    if (fd_ >= 0) ::close(fd_);
  }

  void append(std::span<const T> values) {
    values_.insert(values_.end(), values.begin(), values.end());
    size_ += values.size();
    if (fd_ >= 0 && values_.size() * sizeof(T) >= std::size_t{1} << 18) flush();
  }
  // Ends the appending; a list in a file can be read from here on.
  void finish() {
    if (fd_ < 0) return;
    flush();
    map();
  }

  std::size_t size() const noexcept { return size_; }
  const T* data() const noexcept { return fd_ < 0 ? values_.data() : mapped_; }
  const T* begin() const noexcept { return data(); }
  const T* end() const noexcept { return data() + size_; }
  const T& operator[](std::size_t i) const noexcept { return data()[i]; }
  friend bool operator==(const SpooledList& a, const SpooledList& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  void flush() {
    if (!write_all(fd_, std::as_bytes(std::span(values_)))) fail();
    values_.clear();
  }
  void map() {
    if (size_ == 0) return;  // mmap refuses length 0
    void* mapped = ::mmap(nullptr, size_ * sizeof(T), PROT_READ, MAP_SHARED, fd_, 0);
    if (mapped == MAP_FAILED) fail();
    mapped_ = static_cast<const T*>(mapped);
  }
  void swap(SpooledList& other) noexcept {
    std::swap(directory_, other.directory_), std::swap(values_, other.values_), std::swap(size_, other.size_);
    std::swap(fd_, other.fd_), std::swap(mapped_, other.mapped_);
  }
  [[noreturn]] void fail() const {
    throw Error(file_unwritable, {.file = directory_,
                                  .where = {},
                                  .expected = "room for a file with the tokens",
                                  .got = system_message(errno),
                                  .fix = {}});
  }

  std::string directory_;
  std::vector<T> values_;  // all of them, or those that are not in the file yet
  std::size_t size_ = 0;
  int fd_ = -1;
  const T* mapped_ = nullptr;
};

}  // namespace v0
}  // namespace expert
