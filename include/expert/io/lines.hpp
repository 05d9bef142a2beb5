// A stream of bytes -> its lines, one at a time, each of bounded length: what datasets are read through.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "expert/core/error.hpp"
#include "expert/core/limits.hpp"
#include "expert/json/read_file.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode line_too_long{250, "a line is too long"};

// Where bytes come from; a second implementation is in io/gzip.hpp.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills `out` with up to `capacity` bytes and returns how many; 0 only at the end. Throws Error.
  virtual std::size_t read(char* out, std::size_t capacity) = 0;
};

// The bytes of a regular file as they are. Throws E200, E201.
class FileSource final : public ByteSource {
 public:
  explicit FileSource(const std::string& path) : file_(path) {}
  std::size_t read(char* out, std::size_t capacity) override {
    for (;;) {
      const ssize_t n = ::read(file_.fd(), out, capacity);
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EINTR) file_.fail();
    }
  }
  void rewind() {
    if (::lseek(file_.fd(), 0, SEEK_SET) != 0) file_.fail();
  }

 private:
  OpenFile file_;
};

// Bytes that are already in memory.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::string bytes) : bytes_(std::move(bytes)) {}
  std::size_t read(char* out, std::size_t capacity) override {
    const std::size_t n = std::min(capacity, bytes_.size() - at_);
    std::memcpy(out, bytes_.data() + at_, n);
    at_ += n;
    return n;
  }

 private:
  std::string bytes_;
  std::size_t at_ = 0;
};

// Splits at "\n"; a "\r" before it and a byte order mark at the start of the stream are dropped, and the last line
// needs no "\n". Memory: one line of at most limits.jsonl_line_bytes, whatever the stream expands to.
class LineReader {
 public:
  // The source must outlive the reader; `file` is what errors call it.
  LineReader(ByteSource& source, std::string file, const Limits& limits = default_limits)
      : source_(&source), file_(std::move(file)), limit_(static_cast<std::size_t>(limits.jsonl_line_bytes)) {}

  // The next line, valid until the next call; false at the end.
  bool next(std::string_view& line) {
    line_.clear();
    for (;;) {
      if (begin_ == end_ && !fill()) {
        if (line_.empty()) return false;
        break;
      }
      const char* first = buffer_.data() + begin_;
      const auto* newline = static_cast<const char*>(std::memchr(first, '\n', end_ - begin_));
      const std::size_t n = newline ? static_cast<std::size_t>(newline - first) : end_ - begin_;
      if (n > limit_ - line_.size()) too_long();
      line_.append(first, n);
      begin_ += n + (newline ? 1 : 0);
      if (newline) break;
    }
    ++number_;
    line = line_;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (number_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
    return true;
  }
  std::int64_t number() const { return number_; }  // of the line that was returned last, from 1
  const std::string& file() const { return file_; }

 private:
  bool fill() {
    if (buffer_.empty()) buffer_.resize(std::size_t{1} << 16);
    begin_ = 0;
    end_ = source_->read(buffer_.data(), buffer_.size());
    return end_ > 0;
  }
  [[noreturn]] void too_long() const {
    throw Error(line_too_long, {.file = file_,
                                .where = "line " + std::to_string(number_ + 1),
                                .expected = "at most " + std::to_string(limit_) + " bytes (jsonl_line_bytes)",
                                .got = "more",
                                .fix = "Write one row per line, or leave this row out"});
  }

  ByteSource* source_;
  std::string file_;
  std::size_t limit_;
  std::string buffer_, line_;
  std::size_t begin_ = 0, end_ = 0;
  std::int64_t number_ = 0;
};

}  // namespace v0
}  // namespace expert
