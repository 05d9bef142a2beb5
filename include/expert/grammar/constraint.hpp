// A grammar and stop sequences -> what Generator::generate asks at each token: the mask, the tokens that are forced,
// and whether the text has ended. One object for all prompts of a call.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/limits.hpp"
#include "expert/grammar/json_names.hpp"
#include "expert/grammar/matcher.hpp"
#include "expert/grammar/token_masks.hpp"

namespace expert {
inline namespace v0 {

// A stop sequence ends a text only where the grammar accepts what stands before it: ";" inside of a string literal does
// not. It may begin and end inside of tokens.
//
// Where it is told how many tokens a text may have, every text is complete within them, if the shortest one of the
// grammar is: a token after which the shortest end would no longer fit is not taken, and that end is written instead.
class GrammarConstraint {
 public:
  // stop_sequences: those that the grammar can spell; others cannot occur. most_tokens: of each text; 0: no bound is
  // kept.
  GrammarConstraint(TokenMasks& masks, std::size_t prompts, std::vector<std::string> stop_sequences = {},
                    std::int64_t most_tokens = 0, const Limits& limits = default_limits)
      : limits_(limits), stop_sequences_(std::move(stop_sequences)), most_tokens_(most_tokens) {
    texts_.reserve(prompts);
    for (std::size_t i = 0; i < prompts; ++i) texts_.push_back({GrammarMatcher(masks, limits), &masks});
  }

  // The texts are JSON: no object gets a name twice, unless the grammar leaves nothing else. Called before anything
  // else.
  void refuse_repeated_names() {
    for (Text& text : texts_) text.names.emplace();
  }

  // The text of a prompt, of which nothing is there yet, follows other masks than the rest: a grammar of its own.
  void use(std::size_t prompt, TokenMasks& masks) {
    texts_[prompt].matcher = GrammarMatcher(masks, limits_);
    texts_[prompt].masks = &masks;
  }

  // The tokens that may come next in the text of a prompt.
  std::span<const std::uint64_t> mask(std::size_t prompt) {
    Text& text = texts_[prompt];
    const Vocabulary& vocabulary = text.masks->vocabulary();
    const auto set = [&](std::int32_t id, bool allowed) {
      std::uint64_t& word = mask_[static_cast<std::size_t>(id) / 64];
      const std::uint64_t bit = std::uint64_t{1} << (id % 64);
      word = allowed ? word | bit : word & ~bit;
    };
    if (!text.closing) {
      const std::span<const std::uint64_t> all = text.matcher.mask();
      if (text.refused.empty()) return all;
      mask_.assign(all.begin(), all.end());
      for (const std::int32_t id : text.refused) set(id, false);
      return std::any_of(mask_.begin(), mask_.end(), [](std::uint64_t word) { return word != 0; }) ? mask_ : all;
    }
    mask_.assign(vocabulary.mask_words(), 0);
    if (text.end.empty())
      for (const std::int32_t id : vocabulary.end_tokens()) set(id, true);
    else
      set(vocabulary.longest_prefix(text.end), true);
    return mask_;
  }
  // At most `limit` tokens that must come next, in their order.
  std::vector<std::int32_t> forced(std::size_t prompt, std::int64_t limit) {
    Text& text = texts_[prompt];
    if (!text.closing) return text.matcher.forced_tokens(limit);
    std::vector<std::int32_t> tokens = tokens_of(*text.masks, text.end);
    if (std::cmp_greater(tokens.size(), limit)) tokens.resize(static_cast<std::size_t>(limit));
    return tokens;
  }
  // False where a token that mask() allows is not to be taken, and mask() gives others: it would repeat a name, or the
  // text could not be ended in time after it and mask() allows nothing but what ends it.
  bool fits(std::size_t prompt, std::int32_t token) {
    Text& text = texts_[prompt];
    if (text.names && !text.closing && !text.names->would_be_fresh(text.masks->vocabulary().bytes(token)) &&
        std::find(text.refused.begin(), text.refused.end(), token) == text.refused.end()) {
      text.refused.push_back(token);
      return false;
    }
    const std::int64_t left = most_tokens_ - text.tokens - 1;
    if (most_tokens_ == 0 || text.closing || left >= near || text.masks->vocabulary().is_end(token)) return true;
    if (text.end_behind != text.tokens) text.end = text.matcher.shortest_end();
    text.end_behind = text.tokens;
    if (!text.matcher.accept(token)) return true;
    std::string end = text.matcher.shortest_end();
    text.matcher.rollback(1);
    text.closing = !ends_within(*text.masks, end, left) && ends_within(*text.masks, text.end, left + 1);
    if (text.closing) return false;
    text.end = std::move(end);
    ++text.end_behind;
    return true;
  }
  // Takes over a token that mask() allows; false where the text ends with it.
  bool accept(std::size_t prompt, std::int32_t token) {
    Text& text = texts_[prompt];
    const std::string_view bytes = text.masks->vocabulary().bytes(token);
    const std::size_t before = text.bytes.size();
    ++text.tokens;
    text.refused.clear();
    if (text.names) text.names->add(bytes);
    if (text.closing) text.end.erase(0, bytes.size());
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
  // The text was ended because its tokens ran out.
  bool was_closed(std::size_t prompt) const { return texts_[prompt].closing; }
  // The text is a sentence of the grammar.
  bool is_complete(std::size_t prompt) const {
    const Text& text = texts_[prompt];
    return text.stopped || text.matcher.is_accepting();
  }

 private:
  struct Text {
    GrammarMatcher matcher;
    TokenMasks* masks;
    std::string bytes = {};
    std::vector<std::uint8_t> complete_before = {};  // [i]: the first i bytes are a sentence
    std::string stopped_by = {};
    bool stopped = false;
    std::int64_t tokens = 0;
    std::string end = {};  // the shortest behind so many tokens
    std::int64_t end_behind = -1;
    bool closing = false;
    std::optional<JsonNames> names = {};
    std::vector<std::int32_t> refused = {};  // as the next token
  };
  static constexpr std::int64_t near = 1024;  // more than that are not worth looking ahead

  // Empty where the vocabulary cannot spell the bytes.
  static std::vector<std::int32_t> tokens_of(const TokenMasks& masks, std::string_view bytes) {
    std::vector<std::int32_t> tokens;
    while (!bytes.empty()) {
      const std::int32_t id = masks.vocabulary().longest_prefix(bytes);
      if (id < 0) return {};
      tokens.push_back(id);
      bytes.remove_prefix(masks.vocabulary().bytes(id).size());
    }
    return tokens;
  }
  static bool ends_within(const TokenMasks& masks, const std::string& end, std::int64_t tokens) {
    const std::size_t needed = tokens_of(masks, end).size();
    return (needed > 0 || end.empty()) && std::cmp_less_equal(needed, tokens);
  }

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
  std::int64_t most_tokens_;
  std::vector<Text> texts_;
  std::vector<std::uint64_t> mask_;  // where it is not the matcher's
};

}  // namespace v0
}  // namespace expert
