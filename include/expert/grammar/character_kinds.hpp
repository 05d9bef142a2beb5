// Bytes -> which kinds of characters they are, and how far a character of UTF-8 has come: what a token's text is summed
// up as.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace expert {
inline namespace v0 {

// Kinds of characters that grammars tell apart. A set of them says what a text is made of: one bit each, all ASCII
// bytes of a kind together, and two for what is not ASCII.
using CharacterKinds = std::uint32_t;
namespace detail {

inline constexpr CharacterKinds beyond_ascii = 1u << 30;  // well-formed, the last one perhaps cut off by a token's end
inline constexpr CharacterKinds ill_formed = 1u << 31;    // also the rest of a character without its beginning

constexpr CharacterKinds kind_of_ascii(unsigned char c) {
  constexpr std::string_view single = "\t\n\r \"'\\_$-.+/*,<>=:;`";  // kinds of their own
  if (c >= 'a' && c <= 'z') return c <= 'f' ? 1u << 0 : 1u << 1;
  if (c >= 'A' && c <= 'Z') return c <= 'F' ? 1u << 2 : 1u << 3;
  if (c >= '0' && c <= '9') return 1u << 4;
  for (std::size_t i = 0; i < single.size(); ++i)
    if (static_cast<char>(c) == single[i]) return 1u << (5 + i);
  if (c == '(' || c == ')') return 1u << 26;
  if (c == '[' || c == ']' || c == '{' || c == '}') return 1u << 27;
  return c < 0x20 || c == 0x7f ? 1u << 28 : 1u << 29;
}
inline constexpr std::array<CharacterKinds, 128> ascii_kinds = [] {
  std::array<CharacterKinds, 128> kinds{};
  for (unsigned c = 0; c < 128; ++c) kinds[c] = kind_of_ascii(static_cast<unsigned char>(c));
  return kinds;
}();
// Of a well-formed character by any of its bytes; of a character by its first one.
constexpr CharacterKinds kind_of_part(std::uint8_t byte) { return byte < 0x80 ? ascii_kinds[byte] : beyond_ascii; }
constexpr CharacterKinds kind_of_first(std::uint8_t byte) {
  return byte >= 0x80 && byte < 0xc0 ? ill_formed : kind_of_part(byte);
}

// How far a character of UTF-8 has come.
enum class Utf8 : std::uint8_t { border, one_more, two_more, three_more, after_e0, after_ed, after_f0, after_f4, bad };

constexpr Utf8 utf8_behind(Utf8 state, std::uint8_t byte) {
  const auto within = [byte](std::uint8_t low, std::uint8_t high, Utf8 next) {
    return byte >= low && byte <= high ? next : Utf8::bad;
  };
  if (state == Utf8::border && byte < 0x80) return state;
  switch (state) {
    case Utf8::border:
      if (byte < 0xc2 || byte > 0xf4) return Utf8::bad;
      if (byte < 0xe0) return Utf8::one_more;
      if (byte < 0xf0) return byte == 0xe0 ? Utf8::after_e0 : byte == 0xed ? Utf8::after_ed : Utf8::two_more;
      return byte == 0xf0 ? Utf8::after_f0 : byte == 0xf4 ? Utf8::after_f4 : Utf8::three_more;
    case Utf8::one_more:
      return within(0x80, 0xbf, Utf8::border);
    case Utf8::two_more:
      return within(0x80, 0xbf, Utf8::one_more);
    case Utf8::three_more:
      return within(0x80, 0xbf, Utf8::two_more);
    case Utf8::after_e0:
      return within(0xa0, 0xbf, Utf8::one_more);
    case Utf8::after_ed:
      return within(0x80, 0x9f, Utf8::one_more);
    case Utf8::after_f0:
      return within(0x90, 0xbf, Utf8::two_more);
    case Utf8::after_f4:
      return within(0x80, 0x8f, Utf8::two_more);
    case Utf8::bad:
      break;
  }
  return Utf8::bad;
}
inline constexpr std::size_t utf8_states = static_cast<std::size_t>(Utf8::bad) + 1;
inline constexpr auto utf8_table = [] {
  std::array<std::array<Utf8, 256>, utf8_states> table{};
  for (std::size_t state = 0; state < table.size(); ++state)
    for (unsigned byte = 0; byte < 256; ++byte)
      table[state][byte] = utf8_behind(static_cast<Utf8>(state), static_cast<std::uint8_t>(byte));
  return table;
}();
constexpr Utf8 utf8_step(Utf8 state, std::uint8_t byte) { return utf8_table[static_cast<std::size_t>(state)][byte]; }

// What a byte adds to a text: `utf8` is the state behind it.
constexpr CharacterKinds step_kinds(Utf8 utf8, std::uint8_t byte) {
  return utf8 == Utf8::bad ? ill_formed : kind_of_part(byte);
}

}  // namespace detail

}  // namespace v0
}  // namespace expert
