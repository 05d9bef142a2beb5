// Text -> pieces that BPE never merges across. Each matcher is one regular expression of a known tokenizer.json written
// by hand: it gives the end of the match at a position, and its matches cover every text without a gap.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "expert/core/config.hpp"
#include "expert/text/unicode.hpp"

namespace expert {
inline namespace v0 {

// Qwen2's and Qwen3's.
inline constexpr std::string_view qwen_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// GPT-2's: what the ByteLevel pre-tokenizer does with use_regex.
inline constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace detail {

// All positions are byte offsets into valid UTF-8.
struct Scanner {
  std::string_view text;

  // First position at or after `i` whose code point has none of (`wanted` = false) or any of the class bits.
  template <bool Wanted>
  std::size_t skip(std::size_t i, unsigned bits) const {
    while (i < text.size()) {
      const CodePoint c = decode_utf8(text.data() + i);
      if (((class_of(c.code) & bits) != 0) != Wanted) break;
      i += c.length;
    }
    return i;
  }
  unsigned class_at(std::size_t i) const { return i < text.size() ? class_of(decode_utf8(text.data() + i).code) : 0; }
  char byte_at(std::size_t i) const { return i < text.size() ? text[i] : '\0'; }

  // \s+(?!\S)|\s+ where the run of spaces is [i, end): the last space is left to the word behind it.
  std::size_t spaces(std::size_t i, std::size_t end) const {
    if (end == text.size()) return end;
    const std::size_t last = previous_utf8(text, end);
    return last > i ? last : end;
  }

  // End of 's|'t|'re|'ve|'m|'ll|'d at the apostrophe at `i`, or `i`.
  template <bool AnyCase>
  std::size_t contraction(std::size_t i) const {
    const auto letter = [&](std::size_t at) {
      const char c = byte_at(at);
      return AnyCase && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    };
    const char a = letter(i + 1), b = letter(i + 2);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return i + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return i + 3;
    if (AnyCase && text.substr(i + 1).starts_with("\xc5\xbf")) return i + 3;  // U+017F folds to s
    return i;
  }
};

}  // namespace detail

struct QwenMatcher {
  static std::size_t match_end(std::string_view text, std::size_t i) {
    const detail::Scanner s{text};
    const CodePoint c = decode_utf8(text.data() + i);
    if (c.code == '\'')
      if (const std::size_t end = s.contraction<true>(i); end != i) return end;
    const unsigned kind = class_of(c.code);
    std::size_t next = i + c.length;
    if (kind & is_letter) return s.skip<true>(next, is_letter);
    if (kind & is_number) return next;
    const bool newline = c.code == '\r' || c.code == '\n';
    if (!newline && (s.class_at(next) & is_letter)) return s.skip<true>(next, is_letter);
    constexpr unsigned known = is_space | is_letter | is_number;
    const bool other = !(kind & is_space);
    if (other || (c.code == ' ' && next < text.size() && !(s.class_at(next) & known))) {
      next = s.skip<false>(next, known);
      while (s.byte_at(next) == '\r' || s.byte_at(next) == '\n') ++next;
      return next;
    }
    const std::size_t end = s.skip<true>(i, is_space);
    const std::size_t last_newline = text.substr(i, end - i).find_last_of("\r\n");
    return last_newline != std::string_view::npos ? i + last_newline + 1 : s.spaces(i, end);
  }
};

struct Gpt2Matcher {
  static std::size_t match_end(std::string_view text, std::size_t i) {
    const detail::Scanner s{text};
    if (text[i] == '\'')
      if (const std::size_t end = s.contraction<false>(i); end != i) return end;
    const std::size_t word = text[i] == ' ' && i + 1 < text.size() ? i + 1 : i;
    const unsigned kind = s.class_at(word);
    if (kind & is_letter) return s.skip<true>(word, is_letter);
    if (kind & is_number) return s.skip<true>(word, is_number);
    if (!(kind & is_space)) return s.skip<false>(word, is_space | is_letter | is_number);
    return s.spaces(i, s.skip<true>(i, is_space));
  }
};

template <bool Individual>
struct DigitsMatcher {
  static std::size_t match_end(std::string_view text, std::size_t i) {
    const detail::Scanner s{text};
    if (!(s.class_at(i) & is_numeric)) return s.skip<false>(i, is_numeric);
    return Individual ? i + decode_utf8(text.data() + i).length : s.skip<true>(i, is_numeric);
  }
};

// The pre_tokenizer of a tokenizer.json: splitters in order, then ByteLevel, which may put a space before every piece
// that does not start with one, and then may split by GPT-2's pattern.
struct PreTokenizer {
  enum class Split : std::uint8_t { qwen, gpt2, digits, digit_runs };
  static constexpr std::size_t kinds_of_splits = 4, max_splits = 8;
  std::vector<Split> splits;
  bool add_prefix_space = false;
  bool use_regex = false;

  // Calls emit(std::string_view) for the pieces of valid UTF-8, in order. `scratch` is overwritten.
  template <class Emit>
  void run(std::string_view text, std::string& scratch, Emit&& emit) const {
    stage(0, text, scratch, emit);
  }

 private:
  template <class Matcher, class Next>
  static void each(std::string_view text, Next&& next) {
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t end = Matcher::match_end(text, i);
      next(text.substr(i, end - i));
      i = end;
    }
  }
  // Depth is the number of splitters, which the reader of the file bounds.
  template <class Emit>
  void stage(std::size_t k, std::string_view text, std::string& scratch, Emit& emit) const {
    if (k == splits.size()) {
      if (add_prefix_space && !text.empty() && text.front() != ' ') {
        scratch.assign(1, ' ').append(text);
        text = scratch;
      }
      if (use_regex) return each<Gpt2Matcher>(text, emit);
      if (!text.empty()) emit(text);
      return;
    }
    const auto next = [&](std::string_view piece) { stage(k + 1, piece, scratch, emit); };
    switch (splits[k]) {
      case Split::qwen:
        return each<QwenMatcher>(text, next);
      case Split::gpt2:
        return each<Gpt2Matcher>(text, next);
      case Split::digits:
        return each<DigitsMatcher<true>>(text, next);
      case Split::digit_runs:
        return each<DigitsMatcher<false>>(text, next);
    }
  }
};

}  // namespace v0
}  // namespace expert
