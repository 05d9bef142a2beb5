// Text -> its Unicode normalisation form C (UAX 15), with the data of Unicode 9.0, as PyPI tokenizers normalises.
// Time is linear in the text, also for long runs of combining marks: they are sorted by counting.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "expert/core/config.hpp"
#include "expert/text/unicode.hpp"

namespace expert {
inline namespace v0 {
namespace detail {

// Sound UAX 15 parts: decomposition, canonical order and composition of one stretch of text.
class NfcStretch {
 public:
  void clear() { marks_.clear(); }

  void append_decomposed(std::uint32_t code) {
    namespace t = unicode_tables;
    if (code >= s_base && code < s_base + s_count) {
      const std::uint32_t s = code - s_base;
      push(l_base + s / (v_count * t_count));
      push(v_base + s % (v_count * t_count) / t_count);
      if (s % t_count != 0) push(t_base + s % t_count);
      return;
    }
    const std::size_t i =
        first_not(t::decomposition_keys_size, [code](std::size_t k) { return t::decomposition_keys[k] < code; });
    if (t::decomposition_keys[i] != code) return push(code);  // behind the last one stands a zero
    for (std::uint32_t k = t::decomposition_begin[i]; k < t::decomposition_begin[i + 1]; ++k)
      push(t::decomposition_pool[k]);
  }

  // Appends the normalised stretch to `out`.
  void compose_to(std::string& out) {
    order();
    std::size_t starter = none, kept = 0;
    unsigned last = 0;  // combining class of what was kept last after the starter
    for (std::size_t i = 0; i < marks_.size(); ++i) {
      const Mark mark = marks_[i];
      if (starter != none && (last == 0 || last < mark.combining)) {
        if (const std::uint32_t both = composite(marks_[starter].code, mark.code)) {
          marks_[starter].code = both;
          continue;
        }
      }
      if (mark.combining == 0) starter = kept;
      last = mark.combining;
      marks_[kept++] = mark;
    }
    for (std::size_t i = 0; i < kept; ++i) append_utf8(out, marks_[i].code);
  }

 private:
  struct Mark {
    std::uint32_t code;
    unsigned combining;
  };
  // Hangul syllables are arithmetic (The Unicode Standard, section 3.12).
  static constexpr std::uint32_t s_base = 0xac00, l_base = 0x1100, v_base = 0x1161, t_base = 0x11a7;
  static constexpr std::uint32_t l_count = 19, v_count = 21, t_count = 28, s_count = l_count * v_count * t_count;
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  // The first of n places that is not `before`, or n: a binary search.
  template <class F>
  static std::size_t first_not(std::size_t n, F&& before) {
    std::size_t begin = 0;
    for (std::size_t end = n; begin < end;) {
      const std::size_t middle = begin + (end - begin) / 2;
      if (before(middle))
        begin = middle + 1;
      else
        end = middle;
    }
    return begin;
  }

  void push(std::uint32_t code) {
    const unsigned c = normalization_class_of(code);
    marks_.push_back({code, c == 255 ? 0 : c});
  }

  static std::uint32_t composite(std::uint32_t a, std::uint32_t b) {
    namespace t = unicode_tables;
    if (a - l_base < l_count && b - v_base < v_count) return s_base + ((a - l_base) * v_count + b - v_base) * t_count;
    if (a - s_base < s_count && (a - s_base) % t_count == 0 && b > t_base && b < t_base + t_count)
      return a + b - t_base;
    const std::size_t i = first_not(t::pair_first_size, [a, b](std::size_t k) {
      return t::pair_first[k] < a || (t::pair_first[k] == a && t::pair_second[k] < b);
    });
    return t::pair_first[i] == a && t::pair_second[i] == b ? t::pair_values[i] : 0;
  }

  // Sorts every run of marks of class > 0 by class and keeps equal classes in their order.
  void order() {
    for (std::size_t i = 0; i < marks_.size();) {
      if (marks_[i].combining == 0) {
        ++i;
        continue;
      }
      std::size_t end = i + 1;
      while (end < marks_.size() && marks_[end].combining != 0) ++end;
      if (end - i <= 32) {
        for (std::size_t k = i + 1; k < end; ++k)
          for (std::size_t j = k; j > i && marks_[j - 1].combining > marks_[j].combining; --j)
            std::swap(marks_[j - 1], marks_[j]);
      } else {
        count_sort(i, end);
      }
      i = end;
    }
  }
  void count_sort(std::size_t begin, std::size_t end) {
    std::array<std::size_t, 257> at{};
    for (std::size_t i = begin; i < end; ++i) ++at[marks_[i].combining + 1];
    for (std::size_t c = 1; c < at.size(); ++c) at[c] += at[c - 1];
    sorted_.resize(end - begin);
    for (std::size_t i = begin; i < end; ++i) sorted_[at[marks_[i].combining]++] = marks_[i];
    std::copy(sorted_.begin(), sorted_.end(), marks_.begin() + static_cast<std::ptrdiff_t>(begin));
  }

  std::vector<Mark> marks_, sorted_;
};

}  // namespace detail

// Offset of the first code point that NFC may change or join to what precedes it; npos where the text is NFC already.
inline std::size_t find_nfc_candidate(std::string_view text, std::size_t from = 0) {
  std::size_t i = from;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0xcc) {  // below U+0300 nothing combines
      i += lead < 0x80 ? 1 : 2;
      continue;
    }
    const CodePoint c = decode_utf8(text.data() + i);
    if (normalization_class_of(c.code) != 0) return i;
    i += c.length;
  }
  return std::string_view::npos;
}

// The NFC form of valid UTF-8. Only the stretches around candidates are decomposed and composed again: a code point
// that is no candidate starts afresh, whatever stands before it.
inline std::string normalize_nfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  detail::NfcStretch stretch;
  std::size_t done = 0;
  for (;;) {
    const std::size_t candidate = find_nfc_candidate(text, done);
    if (candidate == std::string_view::npos) return out.append(text, done);
    std::size_t i = candidate > done ? previous_utf8(text, candidate) : candidate;
    out.append(text, done, i - done);
    stretch.clear();
    do {
      const CodePoint c = decode_utf8(text.data() + i);
      stretch.append_decomposed(c.code);
      i += c.length;
    } while (i < text.size() && normalization_class_of(decode_utf8(text.data() + i).code) != 0);
    stretch.compose_to(out);
    done = i;
  }
}

}  // namespace v0
}  // namespace expert
