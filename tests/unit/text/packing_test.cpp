// data/packing.hpp: properties that hold for every packing, on random lengths.
#include "expert/data/packing.hpp"

#include <cmath>
#include <map>
#include <set>

#include "catch.hpp"

namespace packing_test {
using namespace expert;

namespace {

// Document d holds the tokens 1000 d, 1000 d + 1, ...: every token of the set is different.
Documents documents_of(const std::vector<std::int64_t>& lengths, double loss_share = 0.5) {
  const RandomStream random(3, Purpose::augment);
  Documents documents;
  std::uint64_t at = 0;
  for (std::size_t d = 0; d < lengths.size(); ++d) {
    std::vector<std::int32_t> ids;
    std::vector<std::uint8_t> loss;
    for (std::int64_t i = 0; i < lengths[d]; ++i) {
      ids.push_back(static_cast<std::int32_t>(10000 * d + static_cast<std::size_t>(i)));
      loss.push_back(random.uniform(at++) < static_cast<float>(loss_share) ? 1 : 0);
    }
    documents.add(ids, loss);
  }
  return documents;
}

std::vector<std::int64_t> lognormal(std::size_t n, double mean_log, double sigma, std::uint64_t seed) {
  const RandomStream random(seed, Purpose::augment, 1);
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 0; i < n; ++i)
    lengths.push_back(std::max<std::int64_t>(1, std::llround(std::exp(mean_log + sigma * random.normal(i)))));
  return lengths;
}

std::int64_t row_length(const Documents& documents, const std::vector<std::int64_t>& row) {
  std::int64_t n = 0;
  for (const std::int64_t d : row) n += documents.length(d);
  return n;
}

}  // namespace

TEST_CASE("every document is in exactly one row, or is reported as over-long; no row is too full", "[packing]") {
  for (const std::int64_t max_seq_length : {1, 7, 64, 100, 512, 2048}) {
    for (const bool packed : {true, false}) {
      const auto lengths = lognormal(500, 4, 1, 11);
      const Documents documents = documents_of(lengths);
      const PackedRows rows = pack(documents, {.max_seq_length = max_seq_length, .packed = packed, .seed = 5}, 0);
      std::multiset<std::int64_t> seen(rows.over_long.begin(), rows.over_long.end());
      for (const std::int64_t d : rows.over_long) CHECK(documents.length(d) > max_seq_length);
      std::int64_t tokens = 0;
      for (const auto& row : rows.rows) {
        CHECK(!row.empty());
        if (!packed) CHECK(row.size() == 1);
        CHECK(row_length(documents, row) <= max_seq_length);
        tokens += row_length(documents, row);
        seen.insert(row.begin(), row.end());
      }
      CHECK(tokens == rows.tokens);
      REQUIRE(seen.size() == 500);
      CHECK(std::set<std::int64_t>(seen.begin(), seen.end()).size() == 500);
    }
  }
}

TEST_CASE("streaming: every document once, few rows begun at once, as many rows in each epoch", "[packing]") {
  for (const double mean_log : {4.0, 4.7, 5.5}) {
    const Documents documents = documents_of(lognormal(4000, mean_log, 0.6, 21));
    const PackingOptions options{.max_seq_length = 2048, .streaming = true, .seed = 1};
    const PackedRows rows = pack(documents, options, 0), later = pack(documents, options, 3);
    CAPTURE(mean_log, rows.fill());
    CHECK(rows.fill() >= 0.985);
    CHECK(rows.rows.size() == later.rows.size());
    CHECK(rows.rows != later.rows);
    std::set<std::vector<std::int64_t>> one(rows.rows.begin(), rows.rows.end()),
        other(later.rows.begin(), later.rows.end());
    CHECK(one == other);  // the same rows in another order
    std::vector<int> seen(4000);
    std::vector<std::int64_t> changes(4001);  // of the number of begun rows, by document
    for (const auto& row : rows.rows) {
      CHECK(row_length(documents, row) <= 2048);
      CHECK(std::is_sorted(row.begin(), row.end()));
      for (const std::int64_t d : row) ++seen[static_cast<std::size_t>(d)];
      ++changes[static_cast<std::size_t>(row.front())], --changes[static_cast<std::size_t>(row.back())];
    }
    CHECK(seen == std::vector<int>(4000, 1));
    std::int64_t begun = 0, most = 0;
    for (const std::int64_t change : changes) most = std::max(most, begun += change);
    CHECK(most <= packing_open_rows);
    CHECK(most >= 8);  // or the test shows nothing
  }
}

TEST_CASE("on lognormal lengths the fill is at least 0.99 at 2048", "[packing]") {
  for (const double mean_log : {4.0, 4.7, 5.5}) {
    const Documents documents = documents_of(lognormal(4000, mean_log, 0.6, 21));
    const PackedRows rows = pack(documents, {.max_seq_length = 2048, .seed = 1}, 0);
    const double optimal = std::ceil(static_cast<double>(rows.tokens) / 2048);
    CAPTURE(mean_log, rows.fill(), rows.rows.size(), optimal);
    CHECK(static_cast<double>(rows.rows.size()) <= optimal + 1);
    CHECK(rows.fill() >= 0.99);
  }
}

TEST_CASE("each document goes where it leaves the least space", "[packing]") {
  const Documents documents = documents_of({60, 50, 41, 40, 39, 10});
  const PackedRows rows = pack(documents, {.max_seq_length = 100, .shuffled = false}, 0);
  CHECK(rows.rows == std::vector<std::vector<std::int64_t>>{{0, 3}, {1, 2}, {4, 5}});
  CHECK(rows.fill() == 0.8);
}

TEST_CASE("the search for space agrees with a scan over all rows", "[packing]") {
  const RandomStream random(9, Purpose::augment);
  std::uint64_t at = 0;
  detail::FreeSpace space(300);
  std::map<std::int64_t, std::vector<std::int64_t>> model;
  for (int step = 0; step < 20000; ++step) {
    if (random.below(at++, 2) == 0) {
      const std::int64_t size = random.below(at++, 301);
      space.put(size, step);
      model[size].push_back(step);
    } else {
      const std::int64_t wanted = random.below(at++, 301);
      std::int64_t size = -1;
      const std::int64_t row = space.take(wanted, size);
      const auto found = model.lower_bound(wanted);
      if (found == model.end()) {
        CHECK(row == -1);
      } else {
        REQUIRE(size == found->first);
        REQUIRE(row == found->second.back());
        found->second.pop_back();
        if (found->second.empty()) model.erase(found);
      }
    }
  }
}

TEST_CASE("in a batch every token appears once, sees its own document up to itself, and predicts inside it",
          "[packing]") {
  const Documents documents = documents_of(lognormal(300, 3, 0.8, 31));
  const PackedRows rows = pack(documents, {.max_seq_length = 512, .seed = 4}, 2);
  REQUIRE(rows.over_long.empty());
  std::multiset<std::int32_t> seen;
  std::int64_t documents_seen = 0;
  for (std::size_t first = 0; first < rows.rows.size(); first += 8) {
    const TokenBatch batch = make_batch(documents, rows, static_cast<std::int64_t>(first), 8);
    REQUIRE(batch.row_begin.front() == 0);
    REQUIRE(batch.row_begin.back() == batch.tokens());
    REQUIRE(batch.rows() <= 8);
    documents_seen += batch.documents;
    for (std::int64_t r = 0; r < batch.rows(); ++r)
      CHECK(batch.row_begin[static_cast<std::size_t>(r) + 1] - batch.row_begin[static_cast<std::size_t>(r)] <= 512);
    for (std::size_t i = 0; i < batch.input_ids.size(); ++i) {
      const std::int32_t id = batch.input_ids[i], document = id / 10000, offset = id % 10000;
      const KeyRanges keys = batch.keys[i];
      seen.insert(id);
      REQUIRE(batch.positions[i] == offset);
      REQUIRE((keys.p0 == 0 && keys.p1 == 0));
      REQUIRE(keys.d1 == static_cast<std::int32_t>(i) + 1);
      REQUIRE(keys.d1 - keys.d0 == offset + 1);
      for (std::int32_t k = keys.d0; k < keys.d1; ++k)
        REQUIRE(batch.input_ids[static_cast<std::size_t>(k)] / 10000 == document);
      const std::int64_t global = documents.begin[static_cast<std::size_t>(document)] + offset;
      const bool last = offset + 1 == documents.length(document);
      const bool predicts = !last && documents.bears_loss[static_cast<std::size_t>(global) + 1] != 0;
      REQUIRE(batch.labels[i] == (predicts ? id + 1 : ignore_index));
    }
  }
  CHECK(documents_seen == 300);
  CHECK(static_cast<std::int64_t>(seen.size()) == documents.begin.back());
  CHECK(std::set<std::int32_t>(seen.begin(), seen.end()).size() == seen.size());
}

TEST_CASE("the order is a function of seed and epoch, and differs between epochs", "[packing]") {
  const Documents documents = documents_of(lognormal(200, 4, 0.5, 41));
  const auto rows = [&](std::uint64_t seed, std::uint32_t epoch) {
    return pack(documents, {.max_seq_length = 512, .seed = seed}, epoch).rows;
  };
  CHECK(rows(1, 0) == rows(1, 0));
  CHECK(rows(1, 0) != rows(1, 1));
  CHECK(rows(1, 0) != rows(2, 0));
}

TEST_CASE("group_by_length: batches of similar lengths, in runs of batches, the longest first", "[packing]") {
  std::vector<std::int64_t> lengths = lognormal(1000, 4, 0.7, 9);
  for (std::int64_t& n : lengths) n = std::min<std::int64_t>(n, 400);
  const Documents documents = documents_of(lengths);
  const auto order_of = [&](bool grouped, std::uint32_t epoch) {
    std::vector<std::int64_t> order;
    const PackingOptions options{
        .max_seq_length = 400, .packed = false, .seed = 5, .group_by_length = grouped, .batch_size = 8};
    for (const auto& row : pack(documents, options, epoch).rows) {
      CHECK(row.size() == 1);
      order.push_back(row.front());
    }
    return order;
  };
  const auto places = [&](const std::vector<std::int64_t>& order) {  // of batches as wide as their longest row
    std::int64_t sum = 0;
    for (std::size_t first = 0; first < order.size(); first += 8) {
      std::int64_t longest = 0;
      for (std::size_t i = first; i < std::min(order.size(), first + 8); ++i)
        longest = std::max(longest, documents.length(order[i]));
      sum += longest * 8;
    }
    return sum;
  };
  const auto grouped = order_of(true, 0), other_epoch = order_of(true, 1), plain = order_of(false, 0);
  CHECK(std::set<std::int64_t>(grouped.begin(), grouped.end()).size() == 1000);
  CHECK(grouped != other_epoch);
  CHECK(10 * places(grouped) < 7 * places(plain));
  for (const std::int64_t d : grouped) CHECK(documents.length(d) <= documents.length(grouped.front()));
  for (std::size_t i = 1; i < 31 * 8; ++i)  // 1000 / (4 * 8) = 31 batches in a run; the first place was swapped
    if (i > 1) CHECK(documents.length(grouped[i]) <= documents.length(grouped[i - 1]));
}

TEST_CASE("a shuffle reaches every order about equally often", "[packing]") {
  std::map<std::vector<std::int64_t>, int> count;
  for (std::uint64_t seed = 0; seed < 6000; ++seed) {
    std::vector<std::int64_t> items{0, 1, 2};
    detail::shuffle(items, seed, 0, 0);
    ++count[items];
  }
  REQUIRE(count.size() == 6);
  for (const auto& [order, n] : count) CHECK((n > 850 && n < 1150));
}

TEST_CASE("nothing to pack gives no rows, and empty documents are left out", "[packing]") {
  CHECK(pack(Documents{}, {}, 0).rows.empty());
  CHECK(pack(Documents{}, {}, 0).fill() == 0);
  const PackedRows rows = pack(documents_of({0, 3, 0}), {.max_seq_length = 8}, 0);
  REQUIRE(rows.rows.size() == 1);
  CHECK(rows.rows[0] == std::vector<std::int64_t>{1});
}

}  // namespace packing_test
