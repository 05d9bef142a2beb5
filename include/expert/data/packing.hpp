// Tokenised documents -> rows of at most max_seq_length tokens -> batches: nothing is cut, nothing is padded.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "expert/core/batch.hpp"
#include "expert/core/random.hpp"
#include "expert/core/sort.hpp"
#include "expert/io/spooled_list.hpp"

namespace expert {
inline namespace v0 {

// Documents end to end: document d holds tokens [begin[d], begin[d + 1]). bears_loss[i] says whether token i is to be
// predicted; the first token of a document never is, there is nothing before it.
struct Documents {
  SpooledList<std::int32_t> input_ids;
  SpooledList<std::uint8_t> bears_loss;
  std::vector<std::int64_t> begin{0};

  std::int64_t size() const { return static_cast<std::int64_t>(begin.size()) - 1; }
  std::int64_t length(std::int64_t d) const {
    return begin[static_cast<std::size_t>(d) + 1] - begin[static_cast<std::size_t>(d)];
  }
  void add(std::span<const std::int32_t> ids, std::span<const std::uint8_t> loss) {
    input_ids.append(ids);
    bears_loss.append(loss);
    begin.push_back(static_cast<std::int64_t>(input_ids.size()));
  }
};

// Which documents share a row, for one epoch.
struct PackedRows {
  std::vector<std::vector<std::int64_t>> rows;  // document indices
  std::vector<std::int64_t> over_long;  // documents longer than max_seq_length: in no row, for the caller to report
  std::int64_t max_seq_length = 0, tokens = 0;

  // Share of the token places that hold a token. 1 is a perfect packing.
  double fill() const {
    const double places = static_cast<double>(rows.size()) * static_cast<double>(max_seq_length);
    return places == 0 ? 0 : static_cast<double>(tokens) / places;
  }
};

namespace detail {

// A row's free space -> the rows with just that much, found by the smallest space that suffices: a tree of maxima over
// sizes, so that a search costs log2(max_seq_length) steps whatever the number of rows.
class FreeSpace {
 public:
  explicit FreeSpace(std::int64_t max_space) : rows_(static_cast<std::size_t>(max_space) + 1) {
    while (leaves_ <= static_cast<std::size_t>(max_space)) leaves_ *= 2;
    used_.assign(2 * leaves_, 0);
  }
  void put(std::int64_t space, std::int64_t row) {
    ++count_;
    rows_[static_cast<std::size_t>(space)].push_back(row);
    for (std::size_t n = leaves_ + static_cast<std::size_t>(space); n > 0; n /= 2) used_[n] = 1;
  }
  // Takes a row with the smallest space >= wanted, and says how much it had; -1 where there is none.
  std::int64_t take(std::int64_t wanted, std::int64_t& space) {
    std::size_t n = leaves_ + static_cast<std::size_t>(wanted);
    if (!used_[n]) {
      while (n > 1 && ((n & 1) != 0 || !used_[n + 1])) n /= 2;  // up, until something lies to the right
      if (n <= 1) return -1;
      for (n += 1; n < leaves_;) n = used_[2 * n] ? 2 * n : 2 * n + 1;
    }
    auto& list = rows_[n - leaves_];
    space = static_cast<std::int64_t>(n - leaves_);
    const std::int64_t row = list.back();
    list.pop_back();
    --count_;
    if (list.empty()) {
      used_[n] = 0;
      for (n /= 2; n > 0; n /= 2) used_[n] = used_[2 * n] | used_[2 * n + 1];
    }
    return row;
  }
  std::int64_t count() const { return count_; }

 private:
  std::vector<std::vector<std::int64_t>> rows_;
  std::int64_t count_ = 0;
  std::size_t leaves_ = 1;
  std::vector<std::uint8_t> used_;  // a binary heap of flags: some size below this node has a row
};

// Fisher-Yates over the counter-based stream: a function of (seed, epoch, which) and nothing else.
inline void shuffle(std::vector<std::int64_t>& items, std::uint64_t seed, std::uint32_t epoch, std::uint32_t which) {
  const RandomStream random(seed, Purpose::shuffle, epoch, which);
  for (std::size_t i = items.size(); i > 1; --i)
    std::swap(items[i - 1], items[random.below(i, static_cast<std::uint32_t>(i))]);
}

}  // namespace detail

inline constexpr std::int64_t packing_open_rows = 64;

struct PackingOptions {
  std::int64_t max_seq_length = 2048;
  bool packed = true;      // false: one document per row
  bool streaming = false;  // packed in the order of the documents, with at most packing_open_rows begun at once
  bool shuffled = true;
  std::uint64_t seed = 0;
  bool group_by_length = false;  // where documents are not packed: a batch holds documents of similar lengths
  std::int64_t batch_size = 1;   // rows of a batch, for that
};

namespace detail {

// transformers' get_length_grouped_indices: runs of up to 50 batches, each sorted from long to short; the longest
// document of all comes first, so that what does not fit into memory fails at once.
inline void group_by_length(const Documents& documents, std::int64_t batch_size, std::vector<std::int64_t>& order) {
  const auto n = std::ssize(order);
  const std::int64_t batches = std::max<std::int64_t>(1, std::min<std::int64_t>(n / (4 * batch_size), 50));
  std::vector<std::int64_t> group;
  std::int64_t longest = 0;
  for (std::int64_t first = 0; first < n; first += batches * batch_size) {
    const auto begin = order.begin() + first, end = order.begin() + std::min(n, first + batches * batch_size);
    group.assign(begin, end);
    sort_list(group, [&](std::int64_t a, std::int64_t b) { return documents.length(a) > documents.length(b); });
    std::copy(group.begin(), group.end(), begin);
    const auto at = [&](std::int64_t i) { return documents.length(order[static_cast<std::size_t>(i)]); };
    if (at(first) > at(longest)) longest = first;
  }
  if (n > 0) std::swap(order.front(), order[static_cast<std::size_t>(longest)]);
}

}  // namespace detail

// Best-fit decreasing: documents from long to short, each into the row that it leaves the least space in (TRL's "bfd"
// strategy; at most 11/9 of the optimal number of rows, on text nearly none lost). Ties and the order of the rows are
// shuffled by (seed, epoch). O(n log n), equal on every machine. Streaming: best fit in the order of the documents, so
// that a row's tokens lie near each other in the file; the fullest of the begun rows is closed where one too many is
// needed. Only the order of the rows is shuffled. Every epoch has the same number of rows, either way.
inline PackedRows pack(const Documents& documents, const PackingOptions& options, std::uint32_t epoch) {
  PackedRows out;
  out.max_seq_length = options.max_seq_length;
  std::vector<std::int64_t> order;
  for (std::int64_t d = 0; d < documents.size(); ++d) {
    const std::int64_t n = documents.length(d);
    if (n > options.max_seq_length) {
      out.over_long.push_back(d);
    } else if (n > 0) {
      order.push_back(d);
      out.tokens += n;
    }
  }
  const bool streams = options.packed && options.streaming;
  if (options.shuffled && !streams) detail::shuffle(order, options.seed, epoch, 0);

  std::vector<std::vector<std::int64_t>> rows;
  if (options.packed) {
    if (!streams)
      sort_list(order, [&](std::int64_t a, std::int64_t b) { return documents.length(a) > documents.length(b); });
    detail::FreeSpace space(options.max_seq_length);
    for (const std::int64_t d : order) {
      const std::int64_t n = documents.length(d);
      std::int64_t left = options.max_seq_length;
      std::int64_t row = space.take(n, left);
      if (row < 0) {
        std::int64_t unused = 0;
        if (streams && space.count() == packing_open_rows) space.take(1, unused);
        row = static_cast<std::int64_t>(rows.size());
        rows.emplace_back();
      }
      rows[static_cast<std::size_t>(row)].push_back(d);
      if (left > n) space.put(left - n, row);
    }
  } else {
    if (options.group_by_length) detail::group_by_length(documents, options.batch_size, order);
    for (const std::int64_t d : order) rows.push_back({d});
  }

  std::vector<std::int64_t> row_order(rows.size());
  for (std::size_t i = 0; i < row_order.size(); ++i) row_order[i] = static_cast<std::int64_t>(i);
  const bool grouped = options.group_by_length && !options.packed;
  if (options.shuffled && !grouped) detail::shuffle(row_order, options.seed, epoch, 1);
  out.rows.reserve(rows.size());
  for (const std::int64_t row : row_order) out.rows.push_back(std::move(rows[static_cast<std::size_t>(row)]));
  return out;
}

// Rows [first, first + count) of the packing as one batch. Positions restart with every document, a token sees its own
// document up to itself, and no label crosses from one document into the next.
inline TokenBatch make_batch(const Documents& documents, const PackedRows& packed, std::int64_t first,
                             std::int64_t count) {
  TokenBatch batch;
  batch.row_begin.push_back(0);
  const auto last = std::min(static_cast<std::size_t>(first + count), packed.rows.size());
  for (auto row = static_cast<std::size_t>(first); row < last; ++row) {
    for (const std::int64_t d : packed.rows[row]) {
      const auto begin = static_cast<std::size_t>(documents.begin[static_cast<std::size_t>(d)]);
      const auto n = static_cast<std::size_t>(documents.length(d));
      const auto start = static_cast<std::int32_t>(batch.tokens());
      for (std::size_t i = 0; i < n; ++i) {
        const auto offset = static_cast<std::int32_t>(i);
        const bool predicts = i + 1 < n && documents.bears_loss[begin + i + 1] != 0;
        batch.input_ids.push_back(documents.input_ids[begin + i]);
        batch.positions.push_back(offset);
        batch.labels.push_back(predicts ? documents.input_ids[begin + i + 1] : ignore_index);
        batch.keys.push_back({.p0 = 0, .p1 = 0, .d0 = start, .d1 = start + offset + 1});
      }
      ++batch.documents;
    }
    batch.row_begin.push_back(batch.tokens());
  }
  return batch;
}

}  // namespace v0
}  // namespace expert
