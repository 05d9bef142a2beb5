// The bytes of every token -> Vocabulary: a trie over them, with what lies below each node summed up, so that whole
// subtrees are taken or left at once.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/image.hpp"
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

// The bytes of every token and which tokens end a text.
struct VocabularyTexts {
  static constexpr std::size_t max_token_bytes = 1024, max_bytes = std::size_t{1} << 26;
  static constexpr std::int64_t max_size = std::int64_t{1} << 24;

  VocabularyTexts() = default;
  // As for Vocabulary. Throws E333.
  template <class BytesOf>
  VocabularyTexts(std::int64_t size, std::span<const std::int32_t> ends, BytesOf&& bytes_of)
      : end_tokens(ends.begin(), ends.end()) {
    if (size < 1 || size > max_size) fail(joined({"1 to ", max_size, " tokens"}), joined({size}));
    begin.reserve(static_cast<std::size_t>(size) + 1);
    bytes.reserve(8 * static_cast<std::size_t>(size));
    for (std::int32_t id = 0; id < size; ++id) {
      begin.push_back(static_cast<std::uint32_t>(bytes.size()));
      if (!is_end(id)) append(id, bytes_of(id));
    }
    begin.push_back(static_cast<std::uint32_t>(bytes.size()));
    for (const std::int32_t id : end_tokens)
      if (id < 0 || id >= size) fail(joined({"end tokens below ", size}), joined({id}));
    bytes.insert(bytes.end(), 8, '\0');
  }

  bool is_end(std::int32_t id) const { return std::find(end_tokens.begin(), end_tokens.end(), id) != end_tokens.end(); }

  std::vector<std::int32_t> end_tokens = {};
  std::vector<char> bytes = {};           // one behind the other, and eight more that are zero
  std::vector<std::uint32_t> begin = {};  // (size + 1)

 private:
  [[noreturn]] static void fail(std::string expected, std::string got) {
    throw Error(vocabulary_invalid,
                {.file = {}, .where = {}, .expected = std::move(expected), .got = std::move(got), .fix = {}});
  }
  void append(std::int32_t id, std::string_view text) {
    if (text.size() > max_token_bytes)
      fail(joined({"tokens of at most ", max_token_bytes, " bytes"}), joined({"token ", id, " with ", text.size()}));
    if (bytes.size() + text.size() > max_bytes)
      fail(joined({"tokens of at most ", max_bytes, " bytes in all"}), "more");
    bytes.insert(bytes.end(), text.begin(), text.end());
  }
};

// Immutable once made; safe to read from many threads.
class Vocabulary {
 public:
  static constexpr std::size_t max_token_bytes = VocabularyTexts::max_token_bytes,
                               max_bytes = VocabularyTexts::max_bytes;
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
      : Vocabulary(VocabularyTexts(size, end_tokens, bytes_of)) {}
  explicit Vocabulary(VocabularyTexts texts) {
    made_.texts = std::move(texts);
    begin_ = made_.texts.begin;
    bytes_ = made_.texts.bytes;
    end_tokens_ = made_.texts.end_tokens;
    build_trie(sorted_keys());
    show(made_);
  }
  Vocabulary(Vocabulary&&) noexcept = default;
  Vocabulary& operator=(Vocabulary&&) noexcept = default;
  Vocabulary(const Vocabulary&) = delete;  // its tables may be large, and spans name them
  Vocabulary& operator=(const Vocabulary&) = delete;
  // From what save() wrote. `image` is not copied: `keeper` keeps it where it is. Nothing where it cannot be that.
  static std::optional<Vocabulary> load(ImageReader image, std::shared_ptr<const void> keeper) {
    Vocabulary vocabulary;
    if (!vocabulary.read(image)) return std::nullopt;
    vocabulary.keeper_ = std::move(keeper);
    return vocabulary;
  }
  void save(ImageWriter& out) const {
    out.add(begin_);
    out.add(bytes_);
    out.add(end_tokens_);
    out.add(order_);
    out.add(nodes_);
    out.add(kinds_);
    out.add(kinds_after_space_);
    out.add(by_length_);
    out.add(longer_);
  }

  std::int64_t size() const { return static_cast<std::int64_t>(begin_.size()) - 1; }
  std::size_t mask_words() const { return (static_cast<std::size_t>(size()) + 63) / 64; }
  std::span<const std::int32_t> end_tokens() const { return end_tokens_; }
  bool is_end(std::int32_t id) const {
    return std::find(end_tokens_.begin(), end_tokens_.end(), id) != end_tokens_.end();
  }
  // Empty where the id is no token of a text.
  std::string_view bytes(std::int32_t id) const {
    if (id < 0 || id >= size()) return {};
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
    return by_length_.first(n < max_token_bytes ? longer_[n] : 0);
  }

 private:
  Vocabulary() = default;

  struct Key {
    std::uint64_t prefix;  // eight bytes, the first on top, zero behind the end
    std::uint64_t rest;    // id (24 bits, the top), size (11), where it stands in the texts (29)

    std::size_t id() const { return rest >> 40; }
    std::size_t size() const { return rest >> 29 & 2047; }
    std::size_t at() const { return rest & ((std::uint64_t{1} << 29) - 1); }
  };
  std::string_view text_of(const Key& key) const { return {bytes_.data() + key.at(), key.size()}; }
  Key key_of(std::int32_t id) const {
    const std::string_view t = bytes(id);
    std::uint64_t prefix = 0;
    for (std::size_t i = 0; i < 8; ++i)  // there are eight more behind the last token
      prefix = prefix << 8 | static_cast<unsigned char>(t.data()[i]);
    if (t.size() < 8) prefix &= ~(~std::uint64_t{0} >> (8 * t.size()));
    const auto i = static_cast<std::size_t>(id);
    return {prefix, std::uint64_t{i} << 40 | std::uint64_t{t.size()} << 29 | begin_[i]};
  }
  // All tokens with bytes, ordered by them, equal ones by id: a radix sort by the prefixes, which foresees nothing,
  // then those of the same prefix by comparisons.
  std::vector<Key> sorted_keys() const {
    std::vector<Key> keys, sorted;
    keys.reserve(static_cast<std::size_t>(size()));
    std::array<std::array<std::uint32_t, 256>, 8> place{};  // [byte of the prefix, the last first][its value]
    for (std::int32_t id = 0; id < size(); ++id) {
      if (bytes(id).empty()) continue;
      keys.push_back(key_of(id));
      for (std::size_t i = 0; i < 8; ++i) ++place[i][keys.back().prefix >> 8 * i & 255];
    }
    sorted.resize(keys.size());
    for (std::size_t i = 0; i < 8; ++i) {
      std::uint32_t before = 0;
      for (std::uint32_t& count : place[i]) before += std::exchange(count, before);
      for (const Key& key : keys) sorted[place[i][key.prefix >> 8 * i & 255]++] = key;
      keys.swap(sorted);
    }
    for (auto first = keys.begin(), last = first; first != keys.end(); first = last) {
      while (last != keys.end() && last->prefix == first->prefix) ++last;
      if (last - first > 1)
        std::sort(first, last, [this](const Key& a, const Key& b) {
          if (a.size() <= 8 && b.size() <= 8) return a.size() != b.size() ? a.size() < b.size() : a.id() < b.id();
          const int order = text_of(a).compare(text_of(b));
          return order != 0 ? order < 0 : a.id() < b.id();
        });
    }
    return keys;
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
    made_.order.resize(keys.size());
    made_.kinds.assign(static_cast<std::size_t>(size()), ~CharacterKinds{0});
    made_.kinds_after_space = made_.kinds;
    made_.longer.assign(max_token_bytes + 1, 0);
    std::vector<Open> open(next.size());
    open[0].node = &made_.nodes[root];
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
      made_.order[t] = static_cast<std::int32_t>(id);
      made_.kinds[id] = here.path | (here.after_space ? detail::ascii_kinds[' '] : 0);
      if (here.after_space) made_.kinds_after_space[id] = here.path;
      characters[t] = here.characters;
      ++made_.longer[here.characters];
    }
    const auto all = static_cast<std::uint32_t>(keys.size());
    for (; depth > 0; --depth) close(*open[depth].node, *open[depth - 1].node, all);
    made_.nodes[root].tokens_end = all;
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
    made_.nodes.resize(before);
    return count;
  }
  void open_child(Open& child, const Open& parent, std::uint8_t byte, std::uint32_t index, std::uint32_t t) {
    Node& node = made_.nodes[index];
    __builtin_prefetch(&node + 16, 1);  // each depth is a stream of its own, more of them than processors follow
    node.tokens_begin = node.own_end = t;
    node.byte = byte;
    node.utf8 = detail::utf8_step(parent.node->utf8, byte);
    if (parent.node->children++ == 0) parent.node->first_child = static_cast<std::int32_t>(index);
    const bool is_space = parent.node == &made_.nodes[root] && byte == ' ';
    child.node = &node;
    child.after_space = parent.after_space || is_space;
    child.path = is_space ? 0 : parent.path | step_kinds(node);
    child.characters = static_cast<std::uint16_t>(parent.characters + ((byte & 0xc0) != 0x80));
  }
  static void close(Node& node, Node& parent, std::uint32_t t) {
    const bool bad = node.utf8 == detail::Utf8::bad;
    parent.below |= step_kinds(node) | (bad ? 0 : node.below);
    if (bad) node.below = ~CharacterKinds{0};
    node.tokens_end = t;
  }
  void order_by_length(const std::vector<std::uint16_t>& characters) {
    std::uint32_t before = 0;  // longest first
    for (std::size_t n = made_.longer.size(); n-- > 0;) before += std::exchange(made_.longer[n], before);
    made_.by_length.resize(made_.order.size());
    std::vector<std::uint32_t> next = made_.longer;
    for (std::size_t t = 0; t < made_.order.size(); ++t) made_.by_length[next[characters[t]]++] = made_.order[t];
  }

  struct Tables {
    VocabularyTexts texts;
    std::vector<std::int32_t> order;
    std::vector<Node> nodes;
    std::vector<CharacterKinds> kinds, kinds_after_space;
    std::vector<std::int32_t> by_length;
    std::vector<std::uint32_t> longer;
  };
  void show(const Tables& tables) {
    order_ = tables.order;
    nodes_ = tables.nodes;
    kinds_ = tables.kinds;
    kinds_after_space_ = tables.kinds_after_space;
    by_length_ = tables.by_length;
    longer_ = tables.longer;
    find_space();
  }
  void find_space() {
    for (std::int32_t v = nodes_[root].first_child; v < nodes_[root].first_child + nodes_[root].children; ++v)
      if (node(v).byte == ' ') space_ = v;
  }

  // False where something cannot be: then nothing was looked up by it.
  bool read(ImageReader& image) {
    begin_ = image.list<std::uint32_t>();
    bytes_ = image.list<char>();
    end_tokens_ = image.list<std::int32_t>();
    order_ = image.list<std::int32_t>();
    nodes_ = image.list<Node>();
    kinds_ = image.list<CharacterKinds>();
    kinds_after_space_ = image.list<CharacterKinds>();
    by_length_ = image.list<std::int32_t>();
    longer_ = image.list<std::uint32_t>();
    if (!image.is_whole() || !are_texts()) return false;
    const auto n = static_cast<std::size_t>(size());
    if (kinds_.size() != n || kinds_after_space_.size() != n || by_length_.size() != order_.size() ||
        longer_.size() != max_token_bytes + 1 || !is_trie())
      return false;
    const auto is_token = [end = size()](std::int32_t id) { return id >= 0 && id < end; };
    if (!std::all_of(end_tokens_.begin(), end_tokens_.end(), is_token) ||
        !std::all_of(order_.begin(), order_.end(), is_token) ||
        !std::all_of(by_length_.begin(), by_length_.end(), is_token) ||
        !std::all_of(longer_.begin(), longer_.end(), [&](std::uint32_t count) { return count <= order_.size(); }))
      return false;
    find_space();
    return true;
  }
  bool are_texts() const {
    if (begin_.size() < 2 || size() > VocabularyTexts::max_size || bytes_.size() < 8 || bytes_.size() - 8 > max_bytes ||
        begin_[0] != 0 || begin_.back() != bytes_.size() - 8)
      return false;
    bool wrong = false;
    for (std::size_t i = 1; i < begin_.size(); ++i)
      wrong |= begin_[i] - begin_[i - 1] > max_token_bytes;  // where it goes down too
    return !wrong;
  }
  // The children of each node lie behind those of the node before, so that every node is reached once, and none is
  // deeper than a token is long; ranges of tokens are within order_.
  bool is_trie() const {
    std::size_t next = 1, depth_end = 1, depth = 0;
    for (std::size_t v = 0; v < nodes_.size(); ++v) {
      const Node& node = nodes_[v];
      if (v == depth_end) depth_end = next, ++depth;
      if (std::cmp_not_equal(node.first_child, node.children > 0 ? next : 0)) return false;
      next += node.children;
      if (next > nodes_.size() || depth > max_token_bytes || node.tokens_begin > node.own_end ||
          node.own_end > node.tokens_end || node.tokens_end > order_.size() || node.utf8 > detail::Utf8::bad)
        return false;
    }
    return !nodes_.empty() && next == nodes_.size();
  }

  Tables made_;                           // empty where they lie elsewhere
  std::shared_ptr<const void> keeper_;    // of what lies elsewhere
  std::span<const std::uint32_t> begin_;  // (size + 1)
  std::span<const char> bytes_;           // as those of VocabularyTexts
  std::span<const std::int32_t> end_tokens_;
  std::span<const std::int32_t> order_;
  std::span<const Node> nodes_;
  std::span<const CharacterKinds> kinds_, kinds_after_space_;
  std::span<const std::int32_t> by_length_;  // tokens, those of most characters first
  std::span<const std::uint32_t> longer_;    // [n]: how many of them have more than n characters
  std::int32_t space_ = -1;
};

}  // namespace v0
}  // namespace expert
