// The bytes of every token -> Vocabulary: a trie over them, with what lies below each node summed up, so that whole
// subtrees are taken or left at once. Its branches are made when they are first asked for: most masks look into few.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/image.hpp"
#include "expert/core/join.hpp"
#include "expert/grammar/character_kinds.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode vocabulary_invalid{333, "a vocabulary cannot be used with grammars"};

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
    std::vector<bool> is_end(static_cast<std::size_t>(size));
    for (const std::int32_t id : end_tokens) {
      if (id < 0 || id >= size) fail(joined({"end tokens below ", size}), joined({id}));
      is_end[static_cast<std::size_t>(id)] = true;
    }
    begin.reserve(static_cast<std::size_t>(size) + 1);
    bytes.resize(std::min(8 * static_cast<std::size_t>(size), max_bytes));
    std::size_t end = 0;
    for (std::int32_t id = 0; id < size; ++id) {
      begin.push_back(static_cast<std::uint32_t>(end));
      if (!is_end[static_cast<std::size_t>(id)]) end = put(end, id, bytes_of(id));
    }
    begin.push_back(static_cast<std::uint32_t>(end));
    bytes.resize(end);
    bytes.resize(end + 8);
  }

  std::vector<std::int32_t> end_tokens = {};
  std::vector<char> bytes = {};           // one behind the other, and eight more that are zero
  std::vector<std::uint32_t> begin = {};  // (size + 1)

 private:
  [[noreturn]] static void fail(std::string expected, std::string got) {
    throw Error(vocabulary_invalid,
                {.file = {}, .where = {}, .expected = std::move(expected), .got = std::move(got), .fix = {}});
  }
  // The end of `text`, put at `at`.
  std::size_t put(std::size_t at, std::int32_t id, std::string_view text) {
    const std::size_t n = text.size(), end = at + n;
    if (n > max_token_bytes)
      fail(joined({"tokens of at most ", max_token_bytes, " bytes"}), joined({"token ", id, " with ", n}));
    if (end > max_bytes) fail(joined({"tokens of at most ", max_bytes, " bytes in all"}), "more");
    if (end > bytes.size()) bytes.resize(2 * end);
    const auto copy = [to = bytes.data() + at, from = text.data(), n](std::size_t part) {
      std::memcpy(to, from, part);  // the first and the last ones, which may be the same
      std::memcpy(to + n - part, from + n - part, part);
    };
    if (n >= 8 && n <= 16) {
      copy(8);
    } else if (n >= 4 && n < 8) {
      copy(4);
    } else if (n > 0) {
      std::memcpy(bytes.data() + at, text.data(), n);
    }
    return end;
  }
};

// Safe to use from many threads: what is made late is made once, under a lock.
class Vocabulary {
 public:
  static constexpr std::size_t max_token_bytes = VocabularyTexts::max_token_bytes,
                               max_bytes = VocabularyTexts::max_bytes;
  static constexpr std::int32_t root = 0;

  // Children of a node lie side by side, ordered by byte; the tokens below a node are one range of all.
  struct Node {
    std::int32_t first_child;
    std::uint32_t tokens_begin, own_end, tokens_end;  // own: tokens that end here
    // Of the texts from here to each token's end; all bits where this is no UTF-8, at the root and at space().
    CharacterKinds below;
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
  explicit Vocabulary(VocabularyTexts texts) : Vocabulary() {
    texts_ = std::move(texts);
    begin_ = texts_.begin;
    bytes_ = texts_.bytes;
    end_tokens_ = texts_.end_tokens;
    divide();
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
    out.add(close_ranks());
    out.add(order_);
    out.add(kinds());
    out.add(kinds_after_space());
    out.add(sums().by_length);
    out.add(sums().longer);
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
    std::int32_t id = -1, v = root;
    for (const char c : text) {
      const Node& here = node(v);
      const std::int32_t end = here.first_child + here.children;
      for (v = here.first_child; v != end && byte(v) != static_cast<std::uint8_t>(c);) ++v;
      if (v == end) break;
      if (const std::span<const std::int32_t> own = own_tokens(v); !own.empty()) id = own.front();
    }
    return id;
  }

  const Node& node(std::int32_t v) const {
    if (v < tops_) make_branch(v);
    return nodes_[v];
  }
  // No branch is made for these: of a child of the root or of space() only the byte can be known.
  std::uint8_t byte(std::int32_t v) const { return nodes_[v].byte; }
  std::span<const Node> children(std::int32_t v) const {
    const Node& top = node(v);
    return {nodes_ + top.first_child, top.children};
  }
  std::int32_t space() const { return space_; }  // the node of " ", -1 where no token begins with it
  // Tokens that end at a node, ordered by id; those and all below, ordered by their bytes.
  std::span<const std::int32_t> own_tokens(std::int32_t v) const {
    return order_.subspan(nodes_[v].tokens_begin, nodes_[v].own_end - nodes_[v].tokens_begin);
  }
  std::span<const std::int32_t> tokens_below(std::int32_t v) const {
    if (v == root || v == space_) make_branches();
    const Node& top = node(v);
    return order_.subspan(top.tokens_begin, top.tokens_end - top.tokens_begin);
  }

  // For each of the 32 kinds a bit for each token (mask_words): set where it has characters of that kind, or is no
  // token of a text. And the same of what is behind the space that a token begins with; set for all that do not.
  std::span<const std::uint64_t> kinds() const { return sums().kinds; }
  std::span<const std::uint64_t> kinds_after_space() const { return sums().kinds_after_space; }
  // The tokens of more than n characters, a cut-off one counted.
  std::span<const std::int32_t> longer_than(std::size_t n) const {
    const Sums& of_all = sums();
    return of_all.by_length.first(n < max_token_bytes ? of_all.longer[n] : 0);
  }

 private:
  static constexpr std::size_t kind_count = 32;
  struct Sums {
    std::span<const std::uint64_t> kinds, kinds_after_space;
    std::span<const std::int32_t> by_length;  // tokens, those of most characters first
    std::span<const std::uint32_t> longer;    // [n]: how many of them have more than n characters
  };
  // What is made late; a flag says that it was, and will not change.
  struct Late {
    std::mutex making = {};
    std::unique_ptr<std::atomic<bool>[]> has_branch = {};  // (tops)
    std::unique_ptr<Node[]> nodes = {};    // the tops, then room for what is below each: most of it stays untouched
    std::vector<std::uint32_t> room = {};  // (tops + 1) where that begins
    std::vector<std::uint32_t> used = {};  // (tops) nodes of it
    std::vector<std::int32_t> order = {};  // tokens, those of each branch ordered with it
    std::atomic<bool> has_sums = false;
    Sums sums = {};
    std::vector<std::uint64_t> kinds = {}, kinds_after_space = {};
    std::vector<std::int32_t> by_length = {};
    std::vector<std::uint32_t> longer = {};
  };

  Vocabulary() : late_(std::make_unique<Late>()) {}

  // Branches: tokens that begin with the same byte, or with a space and the same byte; " " alone is one too. Their
  // numbers follow their texts.
  static constexpr std::size_t branches = 512, lone_space = ' ';
  static constexpr std::size_t branch_of(std::uint8_t byte) { return byte + (byte > ' ' ? std::size_t{256} : 0); }
  static constexpr std::size_t branch_behind_space(std::uint8_t byte) { return lone_space + 1 + byte; }
  // Bytes that its tokens have in common.
  static std::size_t depth_of(std::size_t branch) { return 1 + ((branch > lone_space) & (branch <= lone_space + 256)); }
  // The tokens of a branch that have no more bytes, then the others: part 2 * branch, and the next one. No jumps, which
  // nothing would foresee.
  static std::size_t part_of(std::string_view text) {
    const auto first = static_cast<std::uint8_t>(text[0]), second = static_cast<std::uint8_t>(text.data()[1]);
    const std::size_t is_behind_space = (first == ' ') & (text.size() > 1);
    const std::size_t b = branch_of(first) + is_behind_space * (1 + std::size_t{second});
    return 2 * b + (text.size() > depth_of(b));
  }

  // Tokens into their branches, and the nodes on top of these.
  void divide() {
    std::array<std::uint32_t, 2 * branches + 1> begin{};  // of each part, once all are counted
    std::array<std::uint32_t, branches> room{};           // at least as many as there are nodes below its top
    for (std::int32_t id = 0; id < size(); ++id) {
      const std::string_view text = bytes(id);
      if (text.empty()) continue;
      const std::size_t part = part_of(text);
      ++begin[part];
      room[part / 2] += static_cast<std::uint32_t>(text.size() - depth_of(part / 2));
    }
    std::uint32_t tokens = 0;
    for (std::uint32_t& part : begin) tokens += std::exchange(part, tokens);
    make_tops(begin, room);

    late_->order.resize(tokens);
    for (std::int32_t id = 0; id < size(); ++id)
      if (const std::string_view text = bytes(id); !text.empty()) late_->order[begin[part_of(text)]++] = id;
    order_ = late_->order;
  }
  void make_tops(std::span<const std::uint32_t> begin, std::span<const std::uint32_t> room) {
    std::vector<Node> tops{{0, 0, 0, begin.back(), ~CharacterKinds{0}, 0, 0, detail::Utf8::border}};
    late_->room.assign(2, 0);
    const auto add = [&](std::size_t first, std::size_t last, std::uint8_t byte) {  // these branches
      const std::uint32_t end = begin[2 * last + 2];
      if (begin[2 * first] == end) return;
      const detail::Utf8 utf8 = detail::utf8_step(detail::Utf8::border, byte);
      tops.push_back({0, begin[2 * first], begin[2 * first + 1], end, 0, 0, byte, utf8});
      late_->room.push_back(late_->room.back() + room[first]);
    };
    for (unsigned byte = 0; byte < 256; ++byte) {
      const std::size_t b = branch_of(static_cast<std::uint8_t>(byte));
      add(b, b == lone_space ? b + 256 : b, static_cast<std::uint8_t>(byte));
    }
    const std::size_t behind_space = tops.size();
    for (unsigned byte = 0; byte < 256; ++byte) {
      const std::size_t b = branch_behind_space(static_cast<std::uint8_t>(byte));
      add(b, b, static_cast<std::uint8_t>(byte));
    }
    const auto give_children = [&](Node& top, std::size_t first, std::size_t end) {
      top.first_child = static_cast<std::int32_t>(first < end ? first : 0);
      top.children = static_cast<std::uint16_t>(end - first);
    };
    give_children(tops[root], 1, behind_space);
    find_space(tops);
    if (space_ >= 0) give_children(tops[static_cast<std::size_t>(space_)], behind_space, tops.size());
    if (space_ >= 0) tops[static_cast<std::size_t>(space_)].below = ~CharacterKinds{0};

    tops_ = static_cast<std::int32_t>(tops.size());
    for (std::uint32_t& place : late_->room) place += static_cast<std::uint32_t>(tops.size());
    late_->used.resize(tops.size());
    late_->nodes = std::make_unique_for_overwrite<Node[]>(late_->room.back());
    std::copy(tops.begin(), tops.end(), late_->nodes.get());
    nodes_ = late_->nodes.get();
    late_->has_branch = std::make_unique<std::atomic<bool>[]>(tops.size());
    for (std::int32_t v = 0; v < tops_; ++v) late_->has_branch[static_cast<std::size_t>(v)] = v == root || v == space_;
  }
  void find_space(std::span<const Node> tops) {
    for (std::size_t v = 1; v <= tops[root].children; ++v)
      if (tops[v].byte == ' ') space_ = static_cast<std::int32_t>(v);
  }
  // All nodes, without the room between the branches.
  std::vector<Node> close_ranks() const {
    if (!loaded_nodes_.empty()) return {loaded_nodes_.begin(), loaded_nodes_.end()};
    make_branches();
    std::vector<Node> nodes(nodes_, nodes_ + tops_);
    for (std::int32_t v = 0; v < tops_; ++v) {
      if (v == root || v == space_) continue;
      const std::size_t i = static_cast<std::size_t>(v), begin = late_->room[i], moved = begin - nodes.size();
      const auto move = [moved](Node& node) {
        if (node.children > 0) node.first_child -= static_cast<std::int32_t>(moved);
      };
      move(nodes[i]);
      nodes.insert(nodes.end(), nodes_ + begin, nodes_ + begin + late_->used[i]);
      std::for_each(nodes.end() - late_->used[i], nodes.end(), move);
    }
    return nodes;
  }

  void make_branches() const {
    for (std::int32_t v = 0; v < tops_; ++v) make_branch(v);
  }
  void make_branch(std::int32_t v) const {
    std::atomic<bool>& has_branch = late_->has_branch[static_cast<std::size_t>(v)];
    if (has_branch.load(std::memory_order_acquire)) return;
    const std::lock_guard lock(late_->making);
    if (has_branch.load(std::memory_order_relaxed)) return;
    fill_branch(v);
    has_branch.store(true, std::memory_order_release);
  }

  // What is behind the bytes that a branch has in common.
  struct Key {
    std::uint64_t prefix;  // eight bytes, the first on top, zero behind the end
    std::uint64_t rest;    // id (24 bits, the top), size (11), where it stands in the texts (29)

    std::size_t id() const { return rest >> 40; }
    std::size_t size() const { return rest >> 29 & 2047; }
    std::size_t at() const { return rest & ((std::uint64_t{1} << 29) - 1); }
  };
  std::string_view text_of(const Key& key) const { return {bytes_.data() + key.at(), key.size()}; }
  Key key_of(std::int32_t id, std::size_t depth) const {
    const std::string_view t = bytes(id).substr(depth);
    std::uint64_t prefix = 0;
    std::memcpy(&prefix, t.data(), sizeof prefix);  // there are eight more bytes behind the last token
    if constexpr (std::endian::native == std::endian::little) prefix = __builtin_bswap64(prefix);
    if (t.size() < 8) prefix &= ~(~std::uint64_t{0} >> (8 * t.size()));
    return {prefix, static_cast<std::uint64_t>(id) << 40 | std::uint64_t{t.size()} << 29 |
                        static_cast<std::uint64_t>(t.data() - bytes_.data())};
  }
  // By their bytes, equal ones by id: a radix sort by the prefixes, which foresees nothing, then those of the same
  // prefix by comparisons. Few keys by comparisons alone.
  void sort(std::vector<Key>& keys) const {
    const auto by_text = [this](const Key& a, const Key& b) {
      if (a.prefix != b.prefix) return a.prefix < b.prefix;
      if (a.size() <= 8 && b.size() <= 8) return a.size() != b.size() ? a.size() < b.size() : a.id() < b.id();
      const int order = text_of(a).compare(text_of(b));
      return order != 0 ? order < 0 : a.id() < b.id();
    };
    constexpr std::size_t few = 512;
    if (keys.size() < few) return std::sort(keys.begin(), keys.end(), by_text);
    std::vector<Key> sorted(keys.size());
    std::array<std::array<std::uint32_t, 256>, 8> place{};  // [byte of the prefix, the last first][its value]
    for (const Key& key : keys)
      for (std::size_t i = 0; i < 8; ++i) ++place[i][key.prefix >> 8 * i & 255];
    for (std::size_t i = 0; i < 8; ++i) {
      std::uint32_t before = 0;
      for (std::uint32_t& count : place[i]) before += std::exchange(count, before);
      for (const Key& key : keys) sorted[place[i][key.prefix >> 8 * i & 255]++] = key;
      keys.swap(sorted);
    }
    for (auto first = keys.begin(), last = first; first != keys.end(); first = last) {
      while (last != keys.end() && last->prefix == first->prefix) ++last;
      if (last - first > 1) std::sort(first, last, by_text);
    }
  }
  std::size_t shared_bytes(const Key& a, const Key& b) const {
    std::size_t n = static_cast<std::size_t>(std::countl_zero(a.prefix ^ b.prefix)) / 8;
    const std::size_t most = std::min(a.size(), b.size());
    if (n < 8 || most <= 8) return std::min(n, most);
    const std::string_view x = text_of(a), y = text_of(b);
    while (n < most && x[n] == y[n]) ++n;
    return n;
  }

  // The nodes below a top, and its tokens ordered. One pass over these; the nodes of a depth lie side by side in the
  // order of their texts, so each depth is filled from its beginning on.
  void fill_branch(std::int32_t v) const {
    Node& top = late_->nodes[static_cast<std::size_t>(v)];
    std::vector<Key> keys;
    keys.reserve(top.tokens_end - top.own_end);
    const std::size_t depth_of_top = v > nodes_[root].children ? 2 : 1;
    for (std::uint32_t t = top.own_end; t < top.tokens_end; ++t) keys.push_back(key_of(order_[t], depth_of_top));
    sort(keys);
    for (std::size_t i = 0; i < keys.size(); ++i)
      late_->order[top.own_end + i] = static_cast<std::int32_t>(keys[i].id());
    std::vector<std::uint16_t> shared(keys.size());                 // bytes in common with the token before
    std::vector<std::uint32_t> next = next_nodes(keys, shared, v);  // [depth]: the node to be filled
    std::vector<Node*> open(next.size(), &top);                     // on the way to the token in hand
    std::size_t depth = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto t = static_cast<std::uint32_t>(top.own_end + i);
      for (; depth > shared[i]; --depth) close(*open[depth], *open[depth - 1], t);
      const auto go_down = [&](std::uint64_t byte) {
        open[depth + 1] = &open_child(*open[depth], static_cast<std::uint8_t>(byte), next[depth + 1]++, t);
        ++depth;
      };
      while (depth < keys[i].size() && depth < 8) go_down(keys[i].prefix >> (56 - 8 * depth));
      if (i + 8 < keys.size()) __builtin_prefetch(text_of(keys[i + 8]).data());
      if (depth < keys[i].size())  // the longer ones alone are looked up
        for (const char c : text_of(keys[i]).substr(depth)) go_down(static_cast<std::uint8_t>(c));
      open[depth]->own_end = t + 1;
    }
    for (; depth > 0; --depth) close(*open[depth], *open[depth - 1], top.tokens_end);
    if (top.utf8 == detail::Utf8::bad) top.below = ~CharacterKinds{0};
  }
  // The first node of each depth, `shared` filled, and how many nodes they are.
  std::vector<std::uint32_t> next_nodes(const std::vector<Key>& keys, std::vector<std::uint16_t>& shared,
                                        std::int32_t v) const {
    std::size_t deepest = 0;
    std::vector<std::uint32_t> count(max_token_bytes + 2);  // [depth]: of its nodes, as differences
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (i > 0) shared[i] = static_cast<std::uint16_t>(shared_bytes(keys[i - 1], keys[i]));
      deepest = std::max(deepest, keys[i].size());
      ++count[shared[i] + 1u];
      --count[keys[i].size() + 1];
    }
    count.resize(deepest + 1);
    for (std::size_t depth = 1; depth <= deepest; ++depth) count[depth] += count[depth - 1];
    const std::uint32_t begin = late_->room[static_cast<std::size_t>(v)];
    std::uint32_t before = begin;
    for (std::size_t depth = 1; depth <= deepest; ++depth) before += std::exchange(count[depth], before);
    late_->used[static_cast<std::size_t>(v)] = before - begin;
    return count;
  }
  Node& open_child(Node& parent, std::uint8_t byte, std::uint32_t index, std::uint32_t t) const {
    Node& node = late_->nodes[index];
    __builtin_prefetch(&node + 16, 1);  // each depth is a stream of its own, more of them than processors follow
    node = {0, t, t, t, 0, 0, byte, detail::utf8_step(parent.utf8, byte)};
    if (parent.children++ == 0) parent.first_child = static_cast<std::int32_t>(index);
    return node;
  }
  static void close(Node& node, Node& parent, std::uint32_t t) {
    const bool bad = node.utf8 == detail::Utf8::bad;
    parent.below |= detail::step_kinds(node.utf8, node.byte) | (bad ? 0 : node.below);
    if (bad) node.below = ~CharacterKinds{0};
    node.tokens_end = t;
  }

  const Sums& sums() const {
    if (!late_->has_sums.load(std::memory_order_acquire)) {
      const std::lock_guard lock(late_->making);
      if (!late_->has_sums.load(std::memory_order_relaxed)) sum_up();
      late_->has_sums.store(true, std::memory_order_release);
    }
    return late_->sums;
  }
  void sum_up() const {
    const std::size_t words = mask_words(), tokens = static_cast<std::size_t>(size());
    Late& to = *late_;
    to.kinds.resize(kind_count * words);
    to.kinds_after_space.resize(kind_count * words);
    to.longer.assign(max_token_bytes + 1, 0);
    std::vector<std::uint16_t> characters(tokens);
    for (std::size_t w = 0; w < words; ++w) {
      std::array<std::uint64_t, kind_count> with_kind{}, after_space{};
      std::uint64_t blank = ~std::uint64_t{0}, no_space = blank;
      for (std::size_t i = 64 * w; i < std::min(64 * w + 64, tokens); ++i) {
        const std::string_view text = bytes(static_cast<std::int32_t>(i));
        if (text.empty()) continue;
        const std::uint64_t bit = std::uint64_t{1} << i % 64;
        const auto set = [bit](auto& sets, CharacterKinds kinds) {
          for (; kinds != 0; kinds &= kinds - 1) sets[static_cast<std::size_t>(std::countr_zero(kinds))] |= bit;
        };
        const bool has_space = text[0] == ' ';
        const auto [kinds, length] = summed(text.substr(has_space));
        characters[i] = static_cast<std::uint16_t>(length + has_space);
        ++to.longer[characters[i]];
        blank &= ~bit;
        set(with_kind, kinds | (has_space ? detail::ascii_kinds[' '] : 0));
        if (!has_space) continue;
        no_space &= ~bit;
        set(after_space, kinds);
      }
      for (std::size_t k = 0; k < kind_count; ++k) {
        to.kinds[k * words + w] = with_kind[k] | blank;
        to.kinds_after_space[k * words + w] = after_space[k] | no_space;
      }
    }
    std::uint32_t before = 0;  // longest first
    for (std::size_t n = to.longer.size(); n-- > 0;) before += std::exchange(to.longer[n], before);
    to.by_length.resize(before);
    std::vector<std::uint32_t> next = to.longer;
    for (std::size_t i = 0; i < tokens; ++i)
      if (!bytes(static_cast<std::int32_t>(i)).empty())
        to.by_length[next[characters[i]]++] = static_cast<std::int32_t>(i);
    to.sums = {to.kinds, to.kinds_after_space, to.by_length, to.longer};
  }
  // What a text is made of, and its characters.
  static std::pair<CharacterKinds, std::size_t> summed(std::string_view text) {
    CharacterKinds kinds = 0;
    std::size_t characters = 0;
    detail::Utf8 utf8 = detail::Utf8::border;
    for (const char c : text) {
      const auto byte = static_cast<std::uint8_t>(c);
      utf8 = detail::utf8_step(utf8, byte);
      kinds |= detail::step_kinds(utf8, byte);
      characters += (byte & 0xc0) != 0x80;
    }
    return {kinds, characters};
  }

  // False where something cannot be: then nothing was looked up by it.
  bool read(ImageReader& image) {
    begin_ = image.list<std::uint32_t>();
    bytes_ = image.list<char>();
    end_tokens_ = image.list<std::int32_t>();
    const auto nodes = image.list<Node>();
    order_ = image.list<std::int32_t>();
    Sums& sums = late_->sums;
    sums.kinds = image.list<std::uint64_t>();
    sums.kinds_after_space = image.list<std::uint64_t>();
    sums.by_length = image.list<std::int32_t>();
    sums.longer = image.list<std::uint32_t>();
    late_->has_sums = true;
    if (!image.is_whole() || !are_texts() || !is_trie(nodes)) return false;
    const auto is_token = [end = size()](std::int32_t id) { return id >= 0 && id < end; };
    if (!std::all_of(end_tokens_.begin(), end_tokens_.end(), is_token) ||
        !std::all_of(order_.begin(), order_.end(), is_token) ||
        !std::all_of(sums.by_length.begin(), sums.by_length.end(), is_token) ||
        sums.kinds.size() != kind_count * mask_words() || sums.kinds_after_space.size() != sums.kinds.size() ||
        sums.longer.size() != max_token_bytes + 1 ||
        !std::all_of(sums.longer.begin(), sums.longer.end(),
                     [&](std::uint32_t count) { return count <= sums.by_length.size(); }))
      return false;
    loaded_nodes_ = nodes;
    nodes_ = nodes.data();
    find_space(nodes);
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
  // As close_ranks() writes them: the children of each node lie behind all that were named before, so that every node
  // is reached once, and none is deeper than a token is long; ranges of tokens are within order_.
  bool is_trie(std::span<const Node> nodes) const {
    if (nodes.empty()) return false;
    std::size_t next = 1;
    const auto is_node = [&](const Node& node) {
      if (std::cmp_not_equal(node.first_child, node.children > 0 ? next : 0)) return false;
      next += node.children;
      return next <= nodes.size() && node.tokens_begin <= node.own_end && node.own_end <= node.tokens_end &&
             node.tokens_end <= order_.size() && node.utf8 <= detail::Utf8::bad;
    };
    if (!is_node(nodes[root])) return false;
    const std::size_t behind_root = next;
    std::size_t space = 0;
    for (std::size_t v = 1; v < behind_root; ++v)
      if (nodes[v].byte == ' ') space = v;
    if (space > 0 && !is_node(nodes[space])) return false;
    for (std::size_t top = 1, tops = next; top < tops; ++top) {
      if (top == space) continue;
      std::size_t v = next, depth = top < behind_root ? 1 : 2;
      if (!is_node(nodes[top])) return false;
      for (std::size_t end = next; v < next; end = next, ++depth) {
        if (depth == max_token_bytes) return false;
        for (; v < end; ++v)
          if (!is_node(nodes[v])) return false;
      }
    }
    return next == nodes.size();
  }

  VocabularyTexts texts_;                 // empty where they lie elsewhere
  std::shared_ptr<const void> keeper_;    // of what lies elsewhere
  std::span<const std::uint32_t> begin_;  // (size + 1)
  std::span<const char> bytes_;           // as those of VocabularyTexts
  std::span<const std::int32_t> end_tokens_, order_;
  std::unique_ptr<Late> late_;
  std::span<const Node> loaded_nodes_;  // empty where they are made here
  const Node* nodes_ = nullptr;         // these, or those of late_
  std::int32_t tops_ = 0;               // those whose branches are made late come first
  std::int32_t space_ = -1;
};

}  // namespace v0
}  // namespace expert
