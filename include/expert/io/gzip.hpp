// A file that may be gzip (RFC 1952) -> its bytes. Needs zlib, so only programs that read compressed data include it.
#pragma once
#include <zlib.h>

#include <array>
#include <memory>
#include <string>
#include <utility>

#include "expert/io/files.hpp"
#include "expert/io/lines.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode gzip_damaged{251, "a gzip file is damaged"};

// Text shrinks by 3 to 20; what grows more than this, beyond the first bytes, was made to keep its reader busy.
inline constexpr std::int64_t gzip_max_ratio = 200, gzip_ratio_from_bytes = std::int64_t{64} << 20;

// Inflates one or more gzip members as they are asked for; nothing is held but zlib's window. Checks length and CRC of
// every member, and refuses a stream that expands beyond gzip_max_ratio.
class GzipSource final : public ByteSource {
 public:
  GzipSource(std::unique_ptr<ByteSource> compressed, std::string file)
      : compressed_(std::move(compressed)), file_(std::move(file)) {
    constexpr int window = 15, gzip_only = 16;
    if (inflateInit2(&stream_, window + gzip_only) != Z_OK) damaged("zlib could not be initialised");
  }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;
  ~GzipSource() override { inflateEnd(&stream_); }

  std::size_t read(char* out, std::size_t capacity) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = static_cast<uInt>(std::min<std::size_t>(capacity, std::size_t{1} << 30));
    const uInt wanted = stream_.avail_out;
    while (stream_.avail_out == wanted) {
      if (stream_.avail_in == 0 && !refill()) {
        if (!between_members_ || members_ == 0) damaged("the end of the file inside the stream");
        return 0;
      }
      if (between_members_ && members_ > 0) inflateReset(&stream_);
      between_members_ = false;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status == Z_STREAM_END) {
        ++members_;
        between_members_ = true;
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        damaged(stream_.msg != nullptr ? stream_.msg : "a stream that does not inflate");
      }
    }
    produced_ += wanted - stream_.avail_out;
    if (produced_ > gzip_ratio_from_bytes && produced_ / gzip_max_ratio > static_cast<std::int64_t>(offset_))
      damaged("one that expands more than " + std::to_string(gzip_max_ratio) + " times");
    return wanted - stream_.avail_out;
  }

 private:
  bool refill() {
    const std::size_t n = compressed_->read(input_.data(), input_.size());
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(n);
    offset_ += n;
    return n > 0;
  }
  [[noreturn]] void damaged(const std::string& got) const {
    throw Error(gzip_damaged, {.file = file_,
                               .where = "offset " + std::to_string(offset_ - stream_.avail_in),
                               .expected = "a complete gzip stream of text",
                               .got = got,
                               .fix = "Compress the file again, fetch it again, or give it uncompressed"});
  }

  std::unique_ptr<ByteSource> compressed_;
  std::string file_;
  z_stream stream_{};
  std::array<char, 1 << 16> input_{};
  std::size_t offset_ = 0;
  std::int64_t produced_ = 0, members_ = 0;
  bool between_members_ = true;
};

// Opens a file by what it contains: gzip where it begins with gzip's two magic bytes, else plain. A name that ends in
// .gz must be gzip. Throws E200, E201; reading throws E251.
inline std::unique_ptr<ByteSource> open_plain_or_gzip(const std::string& path) {
  auto probe = std::make_unique<FileSource>(path);
  char magic[2] = {};
  std::size_t n = 0;
  while (n < 2) {
    const std::size_t got = probe->read(magic + n, 2 - n);
    if (got == 0) break;
    n += got;
  }
  probe->rewind();
  const bool is_gzip = n == 2 && magic[0] == '\x1f' && magic[1] == '\x8b';
  if (is_gzip || extension_of(path) == ".gz") return std::make_unique<GzipSource>(std::move(probe), path);
  return probe;
}

}  // namespace v0
}  // namespace expert
