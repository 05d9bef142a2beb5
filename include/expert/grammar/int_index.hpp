// Pairs of numbers -> a number for each, found by the pair: open addressing, for memos of automata.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "expert/core/text_index.hpp"

namespace expert {
inline namespace v0 {
namespace detail {

class IntIndex {
 public:
  static constexpr std::uint64_t key(std::int32_t a, std::int32_t b) {
    return std::uint64_t{static_cast<std::uint32_t>(a)} << 32 | static_cast<std::uint32_t>(b);
  }

  void clear() {
    if (size_ > 0) slots_.assign(16, {});
    size_ = 0;
  }
  std::size_t size() const { return size_; }
  // The number of the pair; -1 where it has none.
  std::int32_t find(std::uint64_t key) const { return slots_[slot_of(key)].number; }
  // Gives the pair a number of 0 or more. False, and nothing changes, where it has one.
  bool insert(std::uint64_t key, std::int32_t number) {
    if (2 * size_ >= slots_.size()) grow();
    Slot& slot = slots_[slot_of(key)];
    if (slot.number >= 0) return false;
    slot = {key, number};
    ++size_;
    return true;
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::int32_t number = -1;
  };

  std::size_t slot_of(std::uint64_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = mix_bits(key) & mask;
    while (slots_[i].number >= 0 && slots_[i].key != key) i = (i + 1) & mask;
    return i;
  }
  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.number >= 0) slots_[slot_of(slot.key)] = slot;
  }

  std::vector<Slot> slots_ = std::vector<Slot>(16);  // a power of two
  std::size_t size_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
