// An automaton's classes of bytes -> which kinds of characters they are, which bytes stand for all others, and where
// whole characters lead.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "expert/grammar/automaton.hpp"
#include "expert/grammar/character_kinds.hpp"
#include "expert/grammar/int_index.hpp"

namespace expert {
inline namespace v0 {
namespace detail {

// The automaton must outlive it.
class CharacterClasses {
 public:
  explicit CharacterClasses(const GrammarAutomaton& automaton) : automaton_(automaton) {
    kinds_.resize(automaton.class_of(255) + 1u);
    last_bytes_.resize(kinds_.size());
    for (unsigned byte = 0; byte < 256; ++byte) {
      const std::uint8_t c = automaton.class_of(static_cast<std::uint8_t>(byte));
      kinds_[c] |= kind_of_first(static_cast<std::uint8_t>(byte));
      last_bytes_[c] = static_cast<std::uint8_t>(byte);
    }
    find_representatives();
  }

  std::span<const CharacterKinds> kinds() const { return kinds_; }          // (classes) of all their bytes
  std::span<const std::uint8_t> last_bytes() const { return last_bytes_; }  // (classes) which lie side by side
  // Of the ASCII bytes of one class and one kind the first.
  std::span<const std::uint8_t> ascii() const { return ascii_; }

  static CharacterKinds kinds_of(const ByteSet& bytes) {
    CharacterKinds kinds = 0;
    for (unsigned byte = 0; byte < 256; ++byte)
      if (bytes.has(static_cast<std::uint8_t>(byte))) kinds |= kind_of_first(static_cast<std::uint8_t>(byte));
    return kinds;
  }

  // All characters beyond ASCII lead from one state to another.
  bool every_character_leads(std::int32_t from, std::int32_t to) const {
    Seen seen;
    return every_rest_leads(from, Utf8::border, to, seen);
  }

 private:
  struct Seen {  // states within a character from which all lead there: each is met behind several bytes
    std::array<std::uint64_t, 16> keys = {};
    std::size_t count = 0;

    bool has(std::uint64_t key) const {
      for (std::size_t i = count; i-- > 0;)  // mostly the last one
        if (keys[i] == key) return true;
      return false;
    }
    void add(std::uint64_t key) {
      if (count < keys.size()) keys[count++] = key;
    }
  };
  bool every_rest_leads(std::int32_t from, Utf8 utf8, std::int32_t to, Seen& seen) const {
    const std::span<const std::int32_t> row = automaton_.row(from);
    for (const auto& [c, next] : continue_[static_cast<std::size_t>(utf8)]) {
      const std::int32_t here = row[c];
      if (next == Utf8::border) {
        if (here != to) return false;
        continue;
      }
      if (here == GrammarAutomaton::dead) return false;
      const std::uint64_t key = IntIndex::key(here, static_cast<std::int32_t>(next));
      if (seen.has(key)) continue;
      if (!every_rest_leads(here, next, to, seen)) return false;
      seen.add(key);
    }
    return true;
  }

  // Also, of the bytes of one class that continue a character in the same way, the first.
  void find_representatives() {
    std::vector<std::uint64_t> seen;
    const auto is_first = [&](unsigned byte, std::uint32_t how) {
      const std::uint64_t key =
          IntIndex::key(automaton_.class_of(static_cast<std::uint8_t>(byte)), static_cast<std::int32_t>(how));
      const bool is = std::find(seen.begin(), seen.end(), key) == seen.end();
      if (is) seen.push_back(key);
      return is;
    };
    for (unsigned byte = 0; byte < 0x80; ++byte)
      if (is_first(byte, ascii_kinds[byte])) ascii_.push_back(static_cast<std::uint8_t>(byte));
    for (std::size_t utf8 = 0; utf8 < continue_.size(); ++utf8) {
      seen.clear();
      for (unsigned byte = 0x80; byte < 256; ++byte) {
        const Utf8 next = utf8_step(static_cast<Utf8>(utf8), static_cast<std::uint8_t>(byte));
        if (next != Utf8::bad && is_first(byte, static_cast<std::uint32_t>(next)))
          continue_[utf8].push_back({automaton_.class_of(static_cast<std::uint8_t>(byte)), next});
      }
    }
  }

  const GrammarAutomaton& automaton_;
  std::vector<CharacterKinds> kinds_;
  std::vector<std::uint8_t> last_bytes_, ascii_;
  // [how far a character is]: classes of the bytes that go on with it, and how far it is then.
  std::array<std::vector<std::pair<std::uint8_t, Utf8>>, static_cast<std::size_t>(Utf8::bad)> continue_;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
