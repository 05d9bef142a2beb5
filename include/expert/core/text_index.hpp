// Texts -> a number for each, found by the text. Open addressing over one pool of bytes: a lookup touches two cache
// lines, and one class serves all kinds of texts (std::unordered_map takes 0.1 s to compile).
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/config.hpp"
#include "expert/core/image_list.hpp"

namespace expert {
inline namespace v0 {

// The finaliser of splitmix64: one bit of the input changes half of the output's.
constexpr std::uint64_t mix_bits(std::uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

class TextIndex {
 public:
  TextIndex() : slots_(std::vector<Slot>(2)) {}

  void clear() { *this = {}; }
  std::size_t size() const { return size_; }
  // The number of `text`; -1 where it has none.
  std::int32_t find(std::string_view text) const noexcept { return slots_[slot_of(text)].number; }
  bool contains(std::string_view text) const noexcept { return find(text) >= 0; }

  // Gives `text`, which is copied and shorter than 4 GiB, a number of 0 or more. False, and nothing changes, where it
  // has one.
  bool insert(std::string_view text, std::int32_t number) {
    if (3 * (size_ + 1) > 2 * slots_.size()) grow();  // a third stays free
    Slot& slot = slots_.own(slot_of(text));
    if (slot.number >= 0) return false;
    slot = {pool_.size(), static_cast<std::uint32_t>(text.size()), number};
    pool_.append(text.data(), text.size());
    ++size_;
    return true;
  }

  // Templates so that programs that keep nothing do not compile it.
  template <class Writer>
  void save(Writer& out) const {
    out.add(slots_);
    out.add(pool_);
  }
  // From an image, which must stay where it is; nothing can be inserted then. False where that cannot be an index of
  // numbers below `numbers`.
  template <class Reader>
  bool load(Reader& in, std::int64_t numbers) {
    const auto slots = in.template list<Slot>();
    const auto pool = in.template list<char>();
    slots_ = {slots.data(), slots.size()};
    pool_ = {pool.data(), pool.size()};
    size_ = 0;
    bool wrong = false;  // without branches: which slots are in use is not to be foreseen
    for (const Slot& slot : slots_) {
      const bool used = slot.number >= 0;
      const int outside =
          int{slot.number >= numbers} | int{slot.begin > pool_.size()} | int{slot.size > pool_.size() - slot.begin};
      wrong |= used & (outside != 0);
      size_ += used;
    }
    return !wrong && slots_.size() >= 2 && std::has_single_bit(slots_.size()) && size_ < slots_.size();
  }

 private:
  struct Slot {
    std::size_t begin = 0;
    std::uint32_t size = 0;
    std::int32_t number = -1;
  };

  std::string_view text_of(const Slot& slot) const noexcept { return {pool_.data() + slot.begin, slot.size}; }
  // Where `text` is, or the free slot where it belongs.
  std::size_t slot_of(std::string_view text) const noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = hash_of(text) & mask;
    while (slots_[i].number >= 0 && text_of(slots_[i]) != text) i = (i + 1) & mask;
    return i;
  }
  static std::uint64_t hash_of(std::string_view text) noexcept {
    std::uint64_t h = text.size(), x = 0;
    const char* p = text.data();
    std::size_t n = text.size();
    for (; n > 8; n -= 8, p += 8) {
      std::memcpy(&x, p, 8);
      h = mix_bits(h ^ x);
    }
    x = 0;
    if (n > 0) std::memcpy(&x, p, n);
    return mix_bits(h ^ x);
  }
  void grow() {
    ImageList<Slot> old(std::vector<Slot>(slots_.size() * 2));
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.number >= 0) slots_.own(slot_of(text_of(slot))) = slot;
  }

  ImageList<Slot> slots_;  // a power of two
  ImageList<char> pool_;
  std::size_t size_ = 0;
};

}  // namespace v0
}  // namespace expert
