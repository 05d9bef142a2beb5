// A grammar and stop sequences -> what Generator::generate asks at each token: the mask, the tokens that are forced,
// and whether the text has ended. One object for all prompts of a call.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/limits.hpp"
#include "expert/grammar/matcher.hpp"
#include "expert/grammar/token_masks.hpp"

namespace expert {
inline namespace v0 {

// A stop sequence ends a text only where the grammar accepts what stands before it: ";" inside of a string literal does
// not. It may begin and end inside of tokens.
class GrammarConstraint {
 public:
  // stop_sequences: those that the grammar can spell; others cannot occur.
  GrammarConstraint(TokenMasks& masks, std::size_t prompts, std::vector<std::string> stop_sequences = {},
                    const Limits& limits = default_limits)
      : limits_(limits), stop_sequences_(std::move(stop_sequences)) {
    texts_.reserve(prompts);
    for (std::size_t i = 0; i < prompts; ++i)
      texts_.push_back({GrammarMatcher(masks, limits), &masks, {}, {}, {}, false});
  }

  // The text of a prompt, of which nothing is there yet, follows other masks than the rest: a grammar of its own.
  void use(std::size_t prompt, TokenMasks& masks) {
    texts_[prompt].matcher = GrammarMatcher(masks, limits_);
    texts_[prompt].masks = &masks;
  }

  // The tokens that may come next in the text of a prompt.
  std::span<const std::uint64_t> mask(std::size_t prompt) { return texts_[prompt].matcher.mask(); }
  // At most `limit` tokens that must come next, in their order.
  std::vector<std::int32_t> forced(std::size_t prompt, std::int64_t limit) {
    return texts_[prompt].matcher.forced_tokens(limit);
  }
  // Takes over a token that mask() allows; false where the text ends with it.
  bool accept(std::size_t prompt, std::int32_t token) {
    Text& text = texts_[prompt];
    const std::string_view bytes = text.masks->vocabulary().bytes(token);
    const std::size_t before = text.bytes.size();
    for (const char c : bytes) {
      text.complete_before.push_back(text.matcher.is_accepting());
      if (!text.matcher.accept_text({&c, 1})) return false;
      text.bytes += c;
    }
    return !find_stop(text, before);
  }

  // What was generated, without the stop sequence that ended it.
  const std::string& text(std::size_t prompt) const { return texts_[prompt].bytes; }
  // The stop sequence that ended it, or an empty text.
  const std::string& stopped_by(std::size_t prompt) const { return texts_[prompt].stopped_by; }
  // The text is a sentence of the grammar.
  bool is_complete(std::size_t prompt) const {
    const Text& text = texts_[prompt];
    return text.stopped || text.matcher.is_accepting();
  }

 private:
  struct Text {
    GrammarMatcher matcher;
    TokenMasks* masks;
    std::string bytes;
    std::vector<std::uint8_t> complete_before;  // [i]: the first i bytes are a sentence
    std::string stopped_by;
    bool stopped = false;
  };

  bool find_stop(Text& text, std::size_t before) {
    std::size_t first = std::string::npos;
    for (const std::string& stop : stop_sequences_) {
      if (stop.empty()) continue;
      const std::size_t from = before >= stop.size() ? before - stop.size() + 1 : 0;
      for (std::size_t at = text.bytes.find(stop, from); at < std::min(first, text.bytes.size());
           at = text.bytes.find(stop, at + 1))
        if (text.complete_before[at] != 0) {
          first = at;
          text.stopped_by = stop;
          break;
        }
    }
    if (first == std::string::npos) return false;
    text.bytes.resize(first);
    text.stopped = true;
    return true;
  }

  Limits limits_;
  std::vector<std::string> stop_sequences_;
  std::vector<Text> texts_;
};

}  // namespace v0
}  // namespace expert
