// Path -> the bytes of a regular file as read-only memory, without reading them first.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "expert/json/read_file.hpp"

namespace expert {
inline namespace v0 {

// Opened once: size and contents come from one descriptor. A file that someone shortens in place while it is mapped
// ends the program with SIGBUS, as with every mmap; our own writers replace files by rename, which is safe.
class MappedFile {
 public:
  MappedFile() = default;  // of nothing
  // Throws E200 (with the system's reason), E201. An empty file is an empty span.
  explicit MappedFile(const std::string& path) {
    const OpenFile file(path);
    name_ = file.name();
    size_ = static_cast<std::size_t>(file.size());
    if (size_ == 0) return;  // mmap refuses length 0
    void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd(), 0);
    if (data == MAP_FAILED) file.fail();
    data_ = static_cast<const std::byte*>(data);
  }
  MappedFile(MappedFile&& other) noexcept
      : name_(std::move(other.name_)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(name_, other.name_), std::swap(data_, other.data_), std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile() {
    if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
  }

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  const std::string& name() const noexcept { return name_; }
  // Lets go of the pages under a part that is not read for now: pages that were read count as this process's memory.
  // Reading on finds them in the system's cache of files, or on the disk.
  void release(std::span<const std::byte> part) const noexcept {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)),
               first = static_cast<std::size_t>(part.data() - data_) / page * page;
    ::madvise(const_cast<std::byte*>(data_) + first,
              static_cast<std::size_t>(part.data() + part.size() - data_) - first, MADV_DONTNEED);
  }

 private:
  std::string name_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace v0
}  // namespace expert
