// Lists of plain values <-> one block of bytes, each list behind its length and at a multiple of eight: what caches
// keep. The byte order is the machine's.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "expert/core/config.hpp"
#include "expert/core/image_list.hpp"

namespace expert {
inline namespace v0 {

class ImageWriter {
 public:
  template <class T>
  void add(std::span<const T> list) {
    static_assert(std::has_unique_object_representations_v<T>);  // no bytes between members, which nobody has written
    add_bytes(std::uint64_t{list.size()}, list.data(), list.size_bytes());
  }
  template <class T>
  void add(const std::vector<T>& list) {
    add(std::span<const T>(list));
  }
  template <class T>
  void add(const ImageList<T>& list) {
    add(std::span<const T>(list.data(), list.size()));
  }
  void add(std::string_view text) { add(std::span<const char>(text)); }
  void add(std::uint64_t number) { add(std::span<const std::uint64_t>(&number, 1)); }

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void add_bytes(std::uint64_t count, const void* data, std::size_t size) {
    const std::size_t at = bytes_.size(), padded = (size + 7) / 8 * 8;
    bytes_.resize(at + sizeof count + padded);
    std::memcpy(bytes_.data() + at, &count, sizeof count);
    if (size > 0) std::memcpy(bytes_.data() + at + sizeof count, data, size);
  }

  std::vector<std::byte> bytes_;
};

// Reads the lists in the order in which they were added. Where the bytes end too early, that list and all behind it
// are empty; is_whole() says so. The bytes must begin at a multiple of eight and stay where they are.
class ImageReader {
 public:
  explicit ImageReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <class T>
  std::span<const T> list() {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 8);
    std::uint64_t count = 0;
    if (rest_.size() >= sizeof count) std::memcpy(&count, rest_.data(), sizeof count);
    if (rest_.size() < sizeof count || count > (rest_.size() - sizeof count) / sizeof(T)) return missing<T>();
    const std::size_t padded = (count * sizeof(T) + 7) / 8 * 8;
    if (padded > rest_.size() - sizeof count) return missing<T>();
    const auto* first = reinterpret_cast<const T*>(rest_.data() + sizeof count);
    rest_ = rest_.subspan(sizeof count + padded);
    return {first, count};
  }
  template <class T>
  std::vector<T> copy() {
    const std::span<const T> values = list<T>();
    return {values.begin(), values.end()};
  }
  std::string_view text() {
    const std::span<const char> chars = list<char>();
    return {chars.data(), chars.size()};
  }
  // 0 where it is missing.
  std::uint64_t number() {
    const std::span<const std::uint64_t> one = list<std::uint64_t>();
    if (one.size() == 1) return one[0];
    missing<std::uint64_t>();
    return 0;
  }

  // Nothing was missing and nothing is left.
  bool is_whole() const { return whole_ && rest_.empty(); }

 private:
  template <class T>
  std::span<const T> missing() {
    whole_ = false;
    rest_ = {};
    return {};
  }

  std::span<const std::byte> rest_;
  bool whole_ = true;
};

}  // namespace v0
}  // namespace expert
