// A list of plain values that was made, or that lies in an image (core/image.hpp): read in the same way. Without
// std::span, which takes a header's users longer to compile than all of this.
#pragma once
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

// A list of its own, or one that lies in an image, which must then stay where it is.
template <class T>
class ImageList {
 public:
  ImageList() = default;
  explicit ImageList(std::vector<T> list) : own_(std::move(list)), data_(own_.data()), size_(own_.size()) {}
  ImageList(const T* in_image, std::size_t size) : data_(in_image), size_(size) {}
  ImageList(ImageList&& other) noexcept { swap(other); }
  ImageList& operator=(ImageList&& other) noexcept {
    swap(other);
    return *this;
  }
  void swap(ImageList& other) noexcept {
    own_.swap(other.own_), std::swap(data_, other.data_), std::swap(size_, other.size_);
  }

  const T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }

  // Of a list of its own only.
  T& own(std::size_t i) noexcept { return own_[i]; }
  void append(const T* more, std::size_t count) {
    own_.resize(size_ + count);
    data_ = own_.data();
    if (count > 0) std::memcpy(own_.data() + size_, more, count * sizeof(T));
    size_ += count;
  }

 private:
  std::vector<T> own_;
  const T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace v0
}  // namespace expert
