// UTF-8 bytes -> code points and their classes: what the tokenizer must know about Unicode, from generated tables.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "expert/core/config.hpp"
#include "expert/json/json.hpp"
#include "expert/text/unicode_tables.hpp"

namespace expert {
inline namespace v0 {

struct CodePoint {
  std::uint32_t code;
  std::uint32_t length;  // in bytes
};

// The code point that starts at `p`. The bytes must be valid UTF-8: check text from outside with `utf8_error` first.
inline CodePoint decode_utf8(const char* p) {
  const auto byte = [p](int i) { return std::uint32_t{static_cast<unsigned char>(p[i])}; };
  const std::uint32_t a = byte(0);
  if (a < 0x80) return {a, 1};
  if (a < 0xe0) return {(a & 0x1f) << 6 | (byte(1) & 0x3f), 2};
  if (a < 0xf0) return {(a & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f), 3};
  return {(a & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f), 4};
}

// Where the code point begins that ends before byte `end` > 0 of valid UTF-8.
inline std::size_t previous_utf8(std::string_view text, std::size_t end) {
  do --end;
  while ((static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
  return end;
}

inline void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      put(0xe0 | code >> 12);
    } else {
      put(0xf0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3f));
    }
    put(0x80 | (code >> 6 & 0x3f));
  }
  put(0x80 | (code & 0x3f));
}

// Offset of the first byte that is not part of well-formed UTF-8, or npos.
inline std::size_t utf8_error(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      ++i;
      continue;
    }
    const std::size_t n = detail::utf8_length(text, i);
    if (n == 0) return i;
    i += n;
  }
  return std::string_view::npos;
}

// Bytes -> text, every maximal ill-formed part as one U+FFFD: Rust's String::from_utf8_lossy, which is what PyPI
// tokenizers decodes with (Unicode 16, section 3.9, "substitution of maximal subparts").
inline std::string utf8_lossy(std::string_view bytes) {
  if (utf8_error(bytes) == std::string_view::npos) return std::string(bytes);
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 2);
  for (std::size_t i = 0; i < bytes.size();) {
    if (const std::size_t n = detail::utf8_length(bytes, i)) {
      out.append(bytes, i, n);
      i += n;
      continue;
    }
    const auto byte = [&](std::size_t k) {
      return i + k < bytes.size() ? unsigned{static_cast<unsigned char>(bytes[i + k])} : 0u;
    };
    const unsigned a = byte(0), b = byte(1);
    const bool starts3 = a >= 0xe0 && a < 0xf0 && b >= (a == 0xe0 ? 0xa0u : 0x80u) && b < (a == 0xed ? 0xa0u : 0xc0u);
    const bool starts4 = a >= 0xf0 && a < 0xf5 && b >= (a == 0xf0 ? 0x90u : 0x80u) && b < (a == 0xf4 ? 0x90u : 0xc0u);
    i += !starts3 && !starts4 ? 1u : starts4 && (byte(2) & 0xc0) == 0x80 ? 3u : 2u;
    out += "\xef\xbf\xbd";
  }
  return out;
}

// Bits of `class_of`. The regular expressions' \p{L}, \p{N}, \s, then Rust's char::is_numeric, then its \w.
enum CharClass : unsigned { is_letter = 1, is_number = 2, is_space = 4, is_numeric = 8, is_word = 16 };

inline unsigned class_of(std::uint32_t code) {
  namespace t = unicode_tables;
  constexpr std::size_t last = t::class_index_size - 1;
  const std::size_t high = code >> t::class_shift, block = t::class_index[high < last ? high : last];
  const std::size_t low = code & ((1u << t::class_shift) - 1), at = (block << t::class_shift | low) / 2;
  return t::class_combinations[t::class_blocks[at] >> (low % 2 * 4) & 15];
}

// The combining class; 255 for a code point of class 0 that NFC may change or join to what precedes it.
inline unsigned normalization_class_of(std::uint32_t code) {
  namespace t = unicode_tables;
  constexpr std::size_t last = t::combining_index_size - 1;
  const std::size_t high = code >> t::combining_shift, block = t::combining_index[high < last ? high : last];
  return t::combining_blocks[block << t::combining_shift | (code & ((1u << t::combining_shift) - 1))];
}

}  // namespace v0
}  // namespace expert
