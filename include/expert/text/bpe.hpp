// Bytes of one piece -> token ids: byte-pair encoding by merge rank (Sennrich et al. 2016, on bytes as in GPT-2).
// Repeatedly the adjacent pair of lowest rank, the leftmost of equals, becomes one token. Short pieces do that by
// scanning, long ones keep the positions of every rank in a list: linear for vocabularies from training, O(n log n) for
// any.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "expert/core/image_list.hpp"
#include "expert/core/text_index.hpp"

namespace expert {
inline namespace v0 {

// What one call to encode needs besides the text; it grows to the longest piece and is then reused.
struct BpeScratch {
  struct Symbol {
    std::int32_t id;
    std::uint32_t rank;  // of the merge with the next symbol
    std::uint32_t previous, next;
  };
  struct Node {
    std::uint32_t position, next;
  };
  std::vector<Symbol> symbols;
  // Positions by the rank of their pair: one list per rank, and a bit per rank whose list is not empty.
  std::vector<std::uint32_t> lists;
  std::vector<std::uint64_t> filled;
  std::vector<Node> nodes;
  std::vector<std::uint32_t> batch;  // the positions of the rank that is being merged
  std::vector<std::uint64_t> early;  // a heap of rank * 2^32 + position: pairs that came up late
};

// The merges of one vocabulary, frozen: `encode` is const and safe from any thread.
class Bpe {
 public:
  static constexpr std::uint32_t no_rank = 0xffffffffu;

  // byte_ids[b] is the token of byte b alone. Ranks count up from 0 in the order of add_merge.
  void reset(const std::array<std::int32_t, 256>& byte_ids, std::size_t merges) {
    byte_ids_ = byte_ids;
    results_ = {};
    table_ = ImageList(std::vector<Merge>(std::bit_ceil(merges * 2 + 2)));
  }
  // The pair (left, right) becomes `result`. False where the pair has a merge already. At most the promised number.
  bool add_merge(std::int32_t left, std::int32_t right, std::int32_t result) {
    Merge& slot = table_.own(slot_of(key_of(left, right)));
    if (slot.rank != no_rank) return false;
    slot = {key_of(left, right), static_cast<std::uint32_t>(results_.size()), 0};
    results_.append(&result, 1);
    return true;
  }

  // Whole pieces that are one token: `bytes` -> `id`, found without merging.
  void reset_words() { words_.clear(); }
  void add_word(std::string_view bytes, std::int32_t id) { words_.insert(bytes, id); }

  template <class Writer>
  void save(Writer& out) const {
    out.add(std::span<const std::int32_t>(byte_ids_));
    out.add(results_);
    out.add(table_);
    words_.save(out);
  }
  // From an image, which must stay where it is; nothing can be added then. False where that cannot be the merges of
  // `tokens` tokens.
  template <class Reader>
  bool load(Reader& in, std::int64_t tokens) {
    const auto are_tokens = [tokens](std::span<const std::int32_t> ids) {
      return std::all_of(ids.begin(), ids.end(), [tokens](std::int32_t id) { return id >= 0 && id < tokens; });
    };
    const auto bytes = in.template list<std::int32_t>();
    if (bytes.size() != byte_ids_.size() || !are_tokens(bytes)) return false;
    std::copy(bytes.begin(), bytes.end(), byte_ids_.begin());
    const auto results = in.template list<std::int32_t>();
    const auto table = in.template list<Merge>();
    results_ = {results.data(), results.size()};
    table_ = {table.data(), table.size()};
    std::size_t merges = 0;
    bool wrong = false;  // without branches: which slots are in use is not to be foreseen
    for (const Merge& merge : table) {
      const bool used = merge.rank != no_rank;
      wrong |= used & (merge.rank >= results_.size());
      merges += used;
    }
    return !wrong && are_tokens(results) && merges < table_.size() && std::has_single_bit(table_.size()) &&
           words_.load(in, tokens);
  }

  // Appends the ids of one piece. `bytes` is shorter than 2^31.
  void encode(std::string_view bytes, BpeScratch& scratch, std::vector<std::int32_t>& ids) const {
    if (bytes.size() == 1) return ids.push_back(byte_id(bytes[0]));
    if (const std::int32_t id = words_.find(bytes); id >= 0) return ids.push_back(id);
    if (bytes.size() <= scanned)
      merge_by_scan(bytes, ids);
    else
      merge_by_lists(bytes, scratch, ids);
  }
  // The same without the table of whole pieces.
  void merge(std::string_view bytes, BpeScratch& scratch, std::vector<std::int32_t>& ids) const {
    if (bytes.size() <= scanned)
      merge_by_scan(bytes, ids);
    else
      merge_by_lists(bytes, scratch, ids);
  }

 private:
  struct Merge {
    std::uint64_t key = 0;
    std::uint32_t rank = no_rank;
    std::uint32_t unused = 0;  // so that all bytes are written
  };
  static constexpr std::size_t scanned = 128;  // bytes; up to here the scan is as fast as the lists

  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  std::size_t slot_of(std::uint64_t key) const {
    std::size_t i = mix_bits(key) & (table_.size() - 1);
    while (table_[i].rank != no_rank && table_[i].key != key) i = (i + 1) & (table_.size() - 1);
    return i;
  }
  std::int32_t byte_id(char c) const { return byte_ids_[static_cast<unsigned char>(c)]; }
  std::uint32_t rank_of(std::int32_t left, std::int32_t right) const {
    return table_[slot_of(key_of(left, right))].rank;
  }

  void merge_by_scan(std::string_view bytes, std::vector<std::int32_t>& ids) const {
    std::int32_t id[scanned];
    std::uint32_t rank[scanned];
    std::size_t n = bytes.size();
    const auto look = [&](std::size_t i) { rank[i] = rank_of(id[i], id[i + 1]); };
    for (std::size_t i = 0; i < n; ++i) id[i] = byte_id(bytes[i]);
    for (std::size_t i = 0; i + 1 < n; ++i) look(i);
    while (n > 1) {
      const std::size_t at = static_cast<std::size_t>(std::min_element(rank, rank + n - 1) - rank);
      if (rank[at] == no_rank) break;
      id[at] = results_[rank[at]];
      --n;
      for (std::size_t i = at + 1; i < n; ++i) {
        id[i] = id[i + 1];
        rank[i] = rank[i + 1];
      }
      if (at + 1 < n) look(at);
      if (at > 0) look(at - 1);
    }
    ids.insert(ids.end(), id, id + n);
  }

  // Ranks are merged in ascending order, the positions of one rank from the left. A new pair nearly always has a higher
  // rank than the merge that made it and waits in its list; one that has not goes to the heap `early`, which is looked
  // at before every merge. So the order is that of a single heap, and the time is linear for vocabularies from
  // training.
  void merge_by_lists(std::string_view bytes, BpeScratch& w, std::vector<std::int32_t>& ids) const {
    auto& symbols = w.symbols;
    const auto n = static_cast<std::uint32_t>(bytes.size());
    constexpr std::uint32_t none = 0xffffffffu;
    symbols.resize(n);
    w.lists.resize(results_.size());
    w.filled.resize(results_.size() / 64 + 1);
    w.nodes.clear();
    const auto later = [](std::uint64_t a, std::uint64_t b) { return a > b; };
    std::uint32_t rank = 0;  // that is being merged
    bool started = false;
    const auto push = [&](std::uint32_t i) {
      auto& s = symbols[i];
      s.rank = s.next == none ? no_rank : rank_of(s.id, symbols[s.next].id);
      if (s.rank == no_rank) return;
      if (started && s.rank <= rank) {
        w.early.push_back(std::uint64_t{s.rank} << 32 | i);
        std::push_heap(w.early.begin(), w.early.end(), later);
        return;
      }
      std::uint64_t& word = w.filled[s.rank / 64];
      const std::uint64_t bit = std::uint64_t{1} << s.rank % 64;
      w.nodes.push_back({i, word & bit ? w.lists[s.rank] : none});
      w.lists[s.rank] = static_cast<std::uint32_t>(w.nodes.size() - 1);
      word |= bit;
    };
    const auto merge_at = [&](std::uint32_t at, std::uint32_t with_rank) {
      auto& s = symbols[at];
      if (s.rank != with_rank) return;  // the pair is gone: a neighbour took part in another merge
      const std::uint32_t gone = s.next;
      s.id = results_[with_rank];
      s.next = symbols[gone].next;
      symbols[gone].rank = no_rank;
      if (s.next != none) symbols[s.next].previous = at;
      push(at);
      if (s.previous != none) push(s.previous);
    };

    for (std::uint32_t i = 0; i < n; ++i) symbols[i] = {byte_id(bytes[i]), no_rank, i - 1, i + 1 < n ? i + 1 : none};
    for (std::uint32_t i = 0; i < n; ++i) push(i);
    started = true;
    for (std::size_t word = 0; word < w.filled.size();) {
      if (w.filled[word] == 0) {
        ++word;
        continue;
      }
      rank = static_cast<std::uint32_t>(word * 64) + static_cast<std::uint32_t>(std::countr_zero(w.filled[word]));
      w.filled[word] &= w.filled[word] - 1;
      w.batch.clear();
      for (std::uint32_t node = w.lists[rank]; node != none; node = w.nodes[node].next)
        w.batch.push_back(w.nodes[node].position);
      std::reverse(w.batch.begin(), w.batch.end());  // lists hold the latest first
      if (!std::is_sorted(w.batch.begin(), w.batch.end())) std::sort(w.batch.begin(), w.batch.end());
      for (std::size_t k = 0; k < w.batch.size() || !w.early.empty();) {
        const std::uint64_t next = k < w.batch.size() ? std::uint64_t{rank} << 32 | w.batch[k] : ~std::uint64_t{0};
        if (w.early.empty() || next <= w.early.front()) {
          merge_at(w.batch[k++], rank);
          continue;
        }
        const std::uint64_t top = w.early.front();
        std::pop_heap(w.early.begin(), w.early.end(), later);
        w.early.pop_back();
        merge_at(static_cast<std::uint32_t>(top), static_cast<std::uint32_t>(top >> 32));
      }
    }
    for (std::uint32_t i = 0; i != none; i = symbols[i].next) ids.push_back(symbols[i].id);
  }

  std::array<std::int32_t, 256> byte_ids_{};
  ImageList<std::int32_t> results_;  // by rank
  ImageList<Merge> table_{std::vector<Merge>(1)};
  TextIndex words_;
};

}  // namespace v0
}  // namespace expert
