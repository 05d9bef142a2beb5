// Text -> where the added tokens of a tokenizer.json stand in it: leftmost first, then longest, as PyPI tokenizers
// does.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/config.hpp"
#include "expert/core/sort.hpp"
#include "expert/text/pre_tokenize.hpp"
#include "expert/text/unicode.hpp"

namespace expert {
inline namespace v0 {

// One entry of /added_tokens, under its names.
struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool single_word = false;  // only where no letter, digit, mark or underscore touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = true;    // looked for in the normalised text, else in the text as it came
  bool special = false;
};

// Finds a set of added tokens. A walk from one position costs at most the length of the longest token.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  // Each token's content must be what is to be found (already normalised), and not empty.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
    sort_list(tokens_, [](const AddedToken& a, const AddedToken& b) { return a.content < b.content; });
    for (const AddedToken& token : tokens_) starts_[static_cast<unsigned char>(token.content.front())] = true;
  }
  bool empty() const { return tokens_.empty(); }

  // Calls plain(begin, end) and token(const AddedToken&) in the order of the text. `counts(token, begin, end)` says
  // whether a match counts; one that does not has still used up its bytes.
  template <class Counts, class Plain, class Token>
  void split(std::string_view text, Counts&& counts, Plain&& plain, Token&& token) const {
    std::size_t done = 0, i = 0;
    while (i < text.size()) {
      if (!starts_[static_cast<unsigned char>(text[i])]) {
        ++i;
        continue;
      }
      const AddedToken* match = longest_at(text, i);
      if (!match) {
        ++i;
        continue;
      }
      std::size_t begin = i, end = i + match->content.size();
      i = end;
      if (!counts(*match, begin, end)) continue;
      if (match->single_word && !(ends_word(text, begin) && starts_word(text, end))) continue;
      if (match->lstrip) begin = std::max(done, spaces_before(text, begin));
      if (match->rstrip) end = detail::Scanner{text}.skip<true>(end, is_space);
      if (done < begin) plain(done, begin);
      token(*match);
      done = end;
    }
    if (done < text.size()) plain(done, text.size());
  }

 private:
  // Narrows the sorted tokens byte by byte; the last one that ended on the way is the longest.
  const AddedToken* longest_at(std::string_view text, std::size_t at) const {
    const AddedToken *found = nullptr, *low = tokens_.data(), *high = low + tokens_.size();
    for (std::size_t depth = 0; at + depth < text.size(); ++depth) {
      const auto byte = static_cast<unsigned char>(text[at + depth]);
      const auto key = [depth](const AddedToken& t) {  // -1: the token ended before
        return t.content.size() > depth ? int{static_cast<unsigned char>(t.content[depth])} : -1;
      };
      low = std::partition_point(low, high, [&](const AddedToken& t) { return key(t) < byte; });
      high = std::partition_point(low, high, [&](const AddedToken& t) { return key(t) == byte; });
      if (low == high) break;
      if (low->content.size() == depth + 1) found = low;
    }
    return found;
  }
  static bool ends_word(std::string_view text, std::size_t at) {
    return at == 0 || !(class_of(decode_utf8(text.data() + previous_utf8(text, at)).code) & is_word);
  }
  static bool starts_word(std::string_view text, std::size_t at) {
    return at == text.size() || !(class_of(decode_utf8(text.data() + at).code) & is_word);
  }
  static std::size_t spaces_before(std::string_view text, std::size_t at) {
    while (at > 0) {
      const std::size_t i = previous_utf8(text, at);
      if (!(class_of(decode_utf8(text.data() + i).code) & is_space)) break;
      at = i;
    }
    return at;
  }

  std::vector<AddedToken> tokens_;
  std::array<bool, 256> starts_{};
};

}  // namespace v0
}  // namespace expert
