// The bytes of every token -> Vocabulary: a trie over them, with what lies below each node summed up, so that whole
// subtrees are taken or left at once.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
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

}  // namespace detail

// Immutable once made; safe to read from many threads.
class Vocabulary {
 public:
  static constexpr std::size_t max_token_bytes = 1024, max_bytes = std::size_t{1} << 26;
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
    bytes_.reserve(8 * static_cast<std::size_t>(size));
    for (std::int32_t id = 0; id < size; ++id) {
      begin_.push_back(bytes_.size());
      if (!is_end(id)) append_bytes(id, bytes_of(id));
    }
    begin_.push_back(bytes_.size());
    for (const std::int32_t id : end_tokens_)
      if (id < 0 || id >= size) fail(joined({"end tokens below ", size}), joined({id}));
    bytes_.insert(bytes_.end(), 8, '\0');  // key_of reads eight
    build_trie(sorted_keys());
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
    if (bytes_.size() + bytes.size() > max_bytes)
      fail(joined({"tokens of at most ", max_bytes, " bytes in all"}), "more");
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }

  struct Key {
    std::uint64_t prefix;  // eight bytes, the first on top, zero behind the end
    std::uint64_t rest;    // id (24 bits, the top), size (11), where it stands in bytes_ (29)

    std::size_t id() const { return rest >> 40; }
    std::size_t size() const { return rest >> 29 & 2047; }
    std::size_t at() const { return rest & ((std::uint64_t{1} << 29) - 1); }
  };
  std::string_view text_of(const Key& key) const { return {bytes_.data() + key.at(), key.size()}; }
  Key key_of(std::int32_t id) const {
    const std::string_view t = bytes(id);
    std::uint64_t prefix = 0;
    for (std::size_t i = 0; i < 8; ++i)  // bytes_ has eight more behind the last token
      prefix = prefix << 8 | static_cast<unsigned char>(t.data()[i]);
    if (t.size() < 8) prefix &= ~(~std::uint64_t{0} >> (8 * t.size()));
    const auto i = static_cast<std::size_t>(id);
    return {prefix, std::uint64_t{i} << 40 | std::uint64_t{t.size()} << 29 | begin_[i]};
  }
  // All tokens with bytes, ordered by them, equal ones by id.
  std::vector<Key> sorted_keys() const {
    std::vector<Key> keys;
    keys.reserve(static_cast<std::size_t>(size_));
    for (std::int32_t id = 0; id < size_; ++id)
      if (!bytes(id).empty()) keys.push_back(key_of(id));
    std::vector<Key> scratch(keys.size());
    sort_keys(keys, scratch.data(), 56);
    return keys;
  }
  // Radix by the prefix's byte at `shift`, then each part by the next one; few keys by comparisons.
  void sort_keys(std::span<Key> keys, Key* scratch, int shift) const {
    constexpr std::size_t few = 24;
    if (keys.size() <= few || shift < 0) {
      std::sort(keys.begin(), keys.end(), [this](const Key& a, const Key& b) {
        if (a.prefix != b.prefix) return a.prefix < b.prefix;
        if (a.size() <= 8 && b.size() <= 8) return a.size() != b.size() ? a.size() < b.size() : a.id() < b.id();
        const int order = text_of(a).compare(text_of(b));
        return order != 0 ? order < 0 : a.id() < b.id();
      });
      return;
    }
    std::array<std::uint32_t, 257> end{};  // of the keys below each byte
    for (const Key& key : keys) ++end[(key.prefix >> shift & 255) + 1];
    for (std::size_t byte = 0; byte < 256; ++byte) end[byte + 1] += end[byte];
    for (const Key& key : keys) scratch[end[key.prefix >> shift & 255]++] = key;
    std::copy_n(scratch, keys.size(), keys.data());
    for (std::size_t byte = 0, begin = 0; byte < 256; begin = end[byte++])
      if (end[byte] - begin > 1) sort_keys(keys.subspan(begin, end[byte] - begin), scratch, shift - 8);
  }
  std::size_t shared_bytes(const Key& a, const Key& b) const {
    std::size_t n = static_cast<std::size_t>(std::countl_zero(a.prefix ^ b.prefix)) / 8;
    const std::size_t most = std::min(a.size(), b.size());
    if (n < 8 || most <= 8) return std::min(n, most);
    const std::string_view x = text_of(a), y = text_of(b);
    while (n < most && x[n] == y[n]) ++n;
    return n;
  }

  // What the step to `node` adds to a text.
  static CharacterKinds step_kinds(const Node& node) {
    if (node.utf8 == detail::Utf8::bad) return detail::ill_formed;
    return node.byte < 0x80 ? detail::ascii_kinds[node.byte] : detail::beyond_ascii;
  }

  // A node on the way to the token in hand.
  struct Open {
    Node* node = nullptr;
    CharacterKinds path = 0;  // from the root, or from the space where there is one
    std::uint16_t characters = 0;
    bool after_space = false;
  };
  // One pass over the ordered tokens. The nodes of a depth lie side by side in the order of their texts, so each depth
  // is filled from its beginning on.
  void build_trie(const std::vector<Key>& keys) {
    std::vector<std::uint16_t> shared(keys.size());              // bytes in common with the token before
    std::vector<std::uint32_t> next = next_nodes(keys, shared);  // [depth]: the node to be filled
    std::vector<std::uint16_t> characters(keys.size());
    order_.resize(keys.size());
    kinds_.assign(static_cast<std::size_t>(size_), ~CharacterKinds{0});
    kinds_after_space_ = kinds_;
    longer_.assign(max_token_bytes + 1, 0);
    std::vector<Open> open(next.size());
    open[0].node = &nodes_[root];
    std::size_t depth = 0;
    for (std::uint32_t t = 0; t < keys.size(); ++t) {
      for (; depth > shared[t]; --depth) close(*open[depth].node, *open[depth - 1].node, t);
      const auto go_down = [&](std::uint64_t byte) {
        open_child(open[depth + 1], open[depth], static_cast<std::uint8_t>(byte), next[depth + 1]++, t);
        ++depth;
      };
      while (depth < keys[t].size() && depth < 8) go_down(keys[t].prefix >> (56 - 8 * depth));
      if (t + 8 < keys.size()) __builtin_prefetch(text_of(keys[t + 8]).data());
      if (depth < keys[t].size())  // the longer ones alone are looked up
        for (const char c : text_of(keys[t]).substr(depth)) go_down(static_cast<std::uint8_t>(c));
      const Open& here = open[depth];
      here.node->own_end = t + 1;
      const std::size_t id = keys[t].id();
      order_[t] = static_cast<std::int32_t>(id);
      kinds_[id] = here.path | (here.after_space ? detail::ascii_kinds[' '] : 0);
      if (here.after_space) kinds_after_space_[id] = here.path;
      characters[t] = here.characters;
      ++longer_[here.characters];
    }
    const auto all = static_cast<std::uint32_t>(keys.size());
    for (; depth > 0; --depth) close(*open[depth].node, *open[depth - 1].node, all);
    nodes_[root].tokens_end = all;
    order_by_length(characters);
  }
  // The first node of each depth, room for all, and `shared` filled.
  std::vector<std::uint32_t> next_nodes(const std::vector<Key>& keys, std::vector<std::uint16_t>& shared) {
    std::size_t deepest = 0;
    std::vector<std::uint32_t> count(max_token_bytes + 2);  // [depth]: of its nodes, as differences
    for (std::size_t t = 0; t < keys.size(); ++t) {
      if (t > 0) shared[t] = static_cast<std::uint16_t>(shared_bytes(keys[t - 1], keys[t]));
      deepest = std::max(deepest, keys[t].size());
      ++count[shared[t] + 1u];
      --count[keys[t].size() + 1];
    }
    count.resize(deepest + 1);
    for (std::size_t depth = 1; depth <= deepest; ++depth) count[depth] += count[depth - 1];
    std::uint32_t before = 1;  // the root
    for (std::size_t depth = 1; depth <= deepest; ++depth) before += std::exchange(count[depth], before);
    nodes_.resize(before);
    return count;
  }
  void open_child(Open& child, const Open& parent, std::uint8_t byte, std::uint32_t index, std::uint32_t t) {
    Node& node = nodes_[index];
    __builtin_prefetch(&node + 16, 1);  // each depth is a stream of its own, more of them than processors follow
    node.tokens_begin = node.own_end = t;
    node.byte = byte;
    node.utf8 = detail::utf8_step(parent.node->utf8, byte);
    if (parent.node->children++ == 0) parent.node->first_child = static_cast<std::int32_t>(index);
    const bool is_space = parent.node == &nodes_[root] && byte == ' ';
    child.node = &node;
    child.after_space = parent.after_space || is_space;
    child.path = is_space ? 0 : parent.path | step_kinds(node);
    child.characters = static_cast<std::uint16_t>(parent.characters + ((byte & 0xc0) != 0x80));
    if (is_space) space_ = static_cast<std::int32_t>(index);
  }
  static void close(Node& node, Node& parent, std::uint32_t t) {
    const bool bad = node.utf8 == detail::Utf8::bad;
    parent.below |= step_kinds(node) | (bad ? 0 : node.below);
    if (bad) node.below = ~CharacterKinds{0};
    node.tokens_end = t;
  }
  void order_by_length(const std::vector<std::uint16_t>& characters) {
    std::uint32_t before = 0;  // longest first
    for (std::size_t n = longer_.size(); n-- > 0;) before += std::exchange(longer_[n], before);
    by_length_.resize(order_.size());
    std::vector<std::uint32_t> next = longer_;
    for (std::size_t t = 0; t < order_.size(); ++t) by_length_[next[characters[t]]++] = order_[t];
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
