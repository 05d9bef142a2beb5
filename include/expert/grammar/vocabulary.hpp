// The bytes of every token -> Vocabulary: a trie over them, with what lies below each node summed up, so that whole
// subtrees are taken or left at once.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode vocabulary_invalid{333, "a vocabulary cannot be used with grammars"};

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

// How far a character of UTF-8 has come.
enum class Utf8 : std::uint8_t { border, one_more, two_more, three_more, after_e0, after_ed, after_f0, after_f4, bad };

constexpr Utf8 utf8_step(Utf8 state, std::uint8_t byte) {
  const auto within = [byte](std::uint8_t low, std::uint8_t high, Utf8 next) {
    return byte >= low && byte <= high ? next : Utf8::bad;
  };
  switch (state) {
    case Utf8::border:
      if (byte < 0x80) return Utf8::border;
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

}  // namespace detail

// Immutable once made; safe to read from many threads.
class Vocabulary {
 public:
  static constexpr std::size_t max_token_bytes = 1024;
  static constexpr std::int32_t root = 0;

  // Children of a node lie side by side, ordered by byte; the tokens below a node are one range of tokens().
  struct Node {
    std::int32_t first_child;
    std::uint32_t tokens_begin, own_end, tokens_end;  // own: tokens that end here
    CharacterKinds below;  // of the texts from here to each token's end; all bits where this is no UTF-8
    std::uint16_t children;
    std::uint8_t byte;
    detail::Utf8 utf8;
  };

  // `size` ids, of which bytes_of(id) are the text: any bytes, also a part of a character. A token without bytes is
  // never allowed: give none for control tokens and for rows of the embedding that are no token. `end_tokens` end a
  // text. Throws E333.
  template <class BytesOf>
  Vocabulary(std::int64_t size, std::span<const std::int32_t> end_tokens, BytesOf&& bytes_of)
      : size_(size), end_tokens_(end_tokens.begin(), end_tokens.end()) {
    if (size < 1 || size > max_size) fail(joined({"1 to ", max_size, " tokens"}), joined({size}));
    begin_.reserve(static_cast<std::size_t>(size) + 1);
    for (std::int32_t id = 0; id < size; ++id) {
      begin_.push_back(bytes_.size());
      if (!is_end(id)) append_bytes(id, bytes_of(id));
    }
    begin_.push_back(bytes_.size());
    for (const std::int32_t id : end_tokens_)
      if (id < 0 || id >= size) fail(joined({"end tokens below ", size}), joined({id}));
    sort_tokens();
    build_trie();
    sum_up();
  }

  std::int64_t size() const { return size_; }
  std::size_t mask_words() const { return (static_cast<std::size_t>(size_) + 63) / 64; }
  std::span<const std::int32_t> end_tokens() const { return end_tokens_; }
  bool is_end(std::int32_t id) const {
    return std::find(end_tokens_.begin(), end_tokens_.end(), id) != end_tokens_.end();
  }
  // Empty where the id is no token of a text.
  std::string_view bytes(std::int32_t id) const {
    if (id < 0 || id >= size_) return {};
    const auto i = static_cast<std::size_t>(id);
    return {bytes_.data() + begin_[i], begin_[i + 1] - begin_[i]};
  }

  // The token of most bytes that `text` begins with; -1 where there is none.
  std::int32_t longest_prefix(std::string_view text) const {
    std::int32_t id = -1;
    const Node* at = &nodes_[root];
    for (const char c : text) {
      const Node* child = nodes_.data() + at->first_child;
      const Node* const end = child + at->children;
      while (child != end && child->byte != static_cast<std::uint8_t>(c)) ++child;
      if (child == end) break;
      at = child;
      if (at->own_end > at->tokens_begin) id = order_[at->tokens_begin];
    }
    return id;
  }

  const Node& node(std::int32_t i) const { return nodes_[static_cast<std::size_t>(i)]; }
  std::int64_t nodes() const { return static_cast<std::int64_t>(nodes_.size()); }
  std::int32_t space() const { return space_; }                    // the node of " ", -1 where no token begins with it
  std::span<const std::int32_t> tokens() const { return order_; }  // ordered by their bytes; those without are left out
  // What each token is made of (size); and each that begins with a space, without that. All bits for other ids.
  std::span<const CharacterKinds> kinds() const { return kinds_; }
  std::span<const CharacterKinds> kinds_after_space() const { return kinds_after_space_; }
  // The tokens of more than n characters, a cut-off one counted.
  std::span<const std::int32_t> longer_than(std::size_t n) const {
    return std::span(by_length_).first(n < max_token_bytes ? longer_[n] : 0);
  }

 private:
  static constexpr std::int64_t max_size = std::int64_t{1} << 24;

  [[noreturn]] static void fail(std::string expected, std::string got) {
    throw Error(vocabulary_invalid,
                {.file = {}, .where = {}, .expected = std::move(expected), .got = std::move(got), .fix = {}});
  }

  void append_bytes(std::int32_t id, std::string_view bytes) {
    if (bytes.size() > max_token_bytes)
      fail(joined({"tokens of at most ", max_token_bytes, " bytes"}), joined({"token ", id, " with ", bytes.size()}));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }

  struct Key {
    std::uint64_t prefix;  // eight bytes, the first on top
    std::int32_t id;
    std::uint32_t size;
  };
  // By the first two bytes into buckets, then each bucket by comparisons.
  void sort_tokens() {
    std::vector<std::uint32_t> start((1u << 16) + 1);
    const auto bucket_of = [this](std::int32_t id) {
      const std::string_view t = bytes(id);
      const auto byte = [&](std::size_t i) { return i < t.size() ? static_cast<unsigned char>(t[i]) : 0u; };
      return byte(0) << 8 | byte(1);
    };
    for (std::int32_t id = 0; id < size_; ++id)
      if (!bytes(id).empty()) ++start[bucket_of(id) + 1];
    for (std::size_t b = 1; b < start.size(); ++b) start[b] += start[b - 1];
    std::vector<Key> keys(start.back());
    std::vector<std::uint32_t> next = start;
    for (std::int32_t id = 0; id < size_; ++id)
      if (!bytes(id).empty()) keys[next[bucket_of(id)]++] = key_of(id);
    const auto before = [this](const Key& a, const Key& b) {
      if (a.prefix != b.prefix) return a.prefix < b.prefix;
      if (a.size <= 8 && b.size <= 8) return a.size != b.size ? a.size < b.size : a.id < b.id;
      const int order = bytes(a.id).compare(bytes(b.id));
      return order != 0 ? order < 0 : a.id < b.id;
    };
    for (std::size_t b = 0; b + 1 < start.size(); ++b)
      if (start[b + 1] - start[b] > 1) std::sort(keys.begin() + start[b], keys.begin() + start[b + 1], before);
    order_.reserve(keys.size());
    for (const Key& key : keys) order_.push_back(key.id);
  }
  Key key_of(std::int32_t id) const {
    const std::string_view t = bytes(id);
    std::uint64_t prefix = 0;
    for (std::size_t i = 0; i < 8; ++i) prefix = prefix << 8 | (i < t.size() ? static_cast<unsigned char>(t[i]) : 0u);
    return {prefix, id, static_cast<std::uint32_t>(t.size())};
  }

  // Breadth first: the children of a node are appended together.
  void build_trie() {
    nodes_.reserve(2 * order_.size() + 1);
    nodes_.push_back({0, 0, 0, static_cast<std::uint32_t>(order_.size()), 0, 0, 0, detail::Utf8::border});
    std::size_t level_end = 1, depth = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (i == level_end) level_end = nodes_.size(), ++depth;
      Node node = nodes_[i];
      std::uint32_t t = node.tokens_begin;
      while (t < node.tokens_end && token_size(t) == depth) ++t;
      node.own_end = t;
      node.first_child = static_cast<std::int32_t>(nodes_.size());
      while (t < node.tokens_end) {
        const std::uint8_t byte = byte_at(t, depth);
        const std::uint32_t begin = t;
        do ++t;
        while (t < node.tokens_end && byte_at(t, depth) == byte);
        nodes_.push_back({0, begin, begin, t, 0, 0, byte, detail::utf8_step(node.utf8, byte)});
        ++node.children;
      }
      nodes_[i] = node;
    }
  }
  std::size_t token_size(std::uint32_t t) const { return bytes(order_[t]).size(); }
  std::uint8_t byte_at(std::uint32_t t, std::size_t depth) const {
    return static_cast<std::uint8_t>(bytes_[begin_[static_cast<std::size_t>(order_[t])] + depth]);
  }

  // What the step to `node` adds to a text.
  static CharacterKinds step_kinds(const Node& node) {
    if (node.utf8 == detail::Utf8::bad) return detail::ill_formed;
    return node.byte < 0x80 ? detail::ascii_kinds[node.byte] : detail::beyond_ascii;
  }

  void sum_up() {
    kinds_.assign(static_cast<std::size_t>(size_), ~CharacterKinds{0});
    kinds_after_space_ = kinds_;
    std::vector<CharacterKinds> path(nodes_.size());  // from the root, or from the space where there is one
    std::vector<bool> after_space(nodes_.size());
    std::vector<std::uint16_t> characters(nodes_.size());
    longer_.assign(max_token_bytes + 1, 0);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const Node& node = nodes_[i];
      for (std::uint32_t t = node.tokens_begin; t < node.own_end; ++t) {
        const auto id = static_cast<std::size_t>(order_[t]);
        kinds_[id] = path[i] | (after_space[i] ? detail::ascii_kinds[' '] : 0);
        if (after_space[i]) kinds_after_space_[id] = path[i];
        ++longer_[characters[i]];
      }
      for (std::size_t k = 0; k < node.children; ++k) {
        const std::size_t child = static_cast<std::size_t>(node.first_child) + k;
        const bool is_space = i == root && nodes_[child].byte == ' ';
        after_space[child] = after_space[i] || is_space;
        const bool begins = (nodes_[child].byte & 0xc0) != 0x80;
        characters[child] = static_cast<std::uint16_t>(characters[i] + begins);
        path[child] = is_space ? 0 : path[i] | step_kinds(nodes_[child]);
        if (is_space) space_ = static_cast<std::int32_t>(child);
      }
    }
    std::uint32_t before = 0;  // longest first
    for (std::size_t n = longer_.size(); n-- > 0;) before += std::exchange(longer_[n], before);
    by_length_.resize(order_.size());
    std::vector<std::uint32_t> next = longer_;
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      for (std::uint32_t t = nodes_[i].tokens_begin; t < nodes_[i].own_end; ++t)
        by_length_[next[characters[i]]++] = order_[t];
    for (std::size_t i = nodes_.size(); i-- > 0;) {  // children stand behind their parent
      Node& node = nodes_[i];
      if (node.utf8 == detail::Utf8::bad) node.below = ~CharacterKinds{0};
      for (std::size_t k = 0; k < node.children; ++k) {
        const Node& child = nodes_[static_cast<std::size_t>(node.first_child) + k];
        node.below |= step_kinds(child) | (child.utf8 == detail::Utf8::bad ? 0 : child.below);
      }
    }
  }

  std::int64_t size_;
  std::vector<std::int32_t> end_tokens_;
  std::vector<char> bytes_;
  std::vector<std::size_t> begin_;  // (size + 1)
  std::vector<std::int32_t> order_;
  std::vector<Node> nodes_;
  std::vector<CharacterKinds> kinds_, kinds_after_space_;
  std::vector<std::int32_t> by_length_;  // tokens, those of most characters first
  std::vector<std::uint32_t> longer_;    // [n]: how many of them have more than n characters
  std::int32_t space_ = -1;
};

}  // namespace v0
}  // namespace expert
