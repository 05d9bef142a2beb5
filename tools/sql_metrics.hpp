// Results of queries -> whether two are the same; counts -> a share with its 95 % interval.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <variant>
#include <vector>

namespace cli {

// How often something was true of n rows. n may be 0: then there is nothing to say.
struct Share {
  std::int64_t n = 0, count = 0;
  void add(bool holds) {
    ++n;
    count += holds;
  }
  double value() const { return static_cast<double>(count) / static_cast<double>(n); }
};

struct Interval {
  double low = 0, high = 1;
};

// Wilson's score interval at 95 %: sensible also at shares of 0 and 1, where the normal approximation has no width.
// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
inline Interval wilson(const Share& share) {
  if (share.n == 0) return {};
  constexpr double z = 1.959963984540054;
  const double n = static_cast<double>(share.n), p = share.value(), z2 = z * z / n;
  const double middle = p + z2 / 2, half = z * std::sqrt((p * (1 - p) + z2 / 4) / n);
  // At the two ends the bound is exact; the formula misses it by a rounding.
  return {share.count == 0 ? 0 : (middle - half) / (1 + z2), share.count == share.n ? 1 : (middle + half) / (1 + z2)};
}

// A value of SQLite. `Blob` is bytes and equals no text.
struct Blob {
  std::string bytes;
};
using Cell = std::variant<std::monostate, std::int64_t, double, std::string, Blob>;
using ResultRow = std::vector<Cell>;
struct ResultSet {
  std::vector<ResultRow> rows;  // all of one width
};

// -1, 0, 1. Exact: no integer is rounded to a double.
inline int compare_numbers(std::int64_t a, double b) {
  if (b >= 0x1p63) return -1;
  if (b < -0x1p63) return 1;
  const auto whole = static_cast<std::int64_t>(std::trunc(b));
  if (a != whole) return a < whole ? -1 : 1;
  const double rest = b - std::trunc(b);
  return rest > 0 ? -1 : rest < 0 ? 1 : 0;
}

template <class T>
int three_way(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

// A total order: null, numbers by value (1 equals 1.0), texts, blobs.
inline int compare(const Cell& a, const Cell& b) {
  const auto kind = [](const Cell& cell) { return cell.index() == 2 ? std::size_t{1} : cell.index(); };
  if (kind(a) != kind(b)) return three_way(kind(a), kind(b));
  const auto *i = std::get_if<std::int64_t>(&a), *j = std::get_if<std::int64_t>(&b);
  const auto *x = std::get_if<double>(&a), *y = std::get_if<double>(&b);
  if (i && j) return three_way(*i, *j);
  if (x && y) return three_way(*x, *y);
  if (i && y) return compare_numbers(*i, *y);
  if (x && j) return -compare_numbers(*j, *x);
  if (const auto* text = std::get_if<std::string>(&a)) return three_way(*text, std::get<std::string>(b));
  if (const auto* blob = std::get_if<Blob>(&a)) return three_way(blob->bytes, std::get<Blob>(b).bytes);
  return 0;
}

inline int compare(const ResultRow& a, const ResultRow& b) {
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    if (const int order = compare(a[i], b[i])) return order;
  return three_way(a.size(), b.size());
}

// Same rows, each as often in one as in the other; in the same order where `ordered`. The order of columns counts,
// their names do not.
inline bool same_result(const ResultSet& a, const ResultSet& b, bool ordered) {
  if (a.rows.size() != b.rows.size()) return false;
  const auto order = [&](const ResultSet& set) {
    std::vector<std::size_t> index(set.rows.size());
    std::iota(index.begin(), index.end(), std::size_t{0});
    if (!ordered)
      std::sort(index.begin(), index.end(),
                [&](std::size_t i, std::size_t j) { return compare(set.rows[i], set.rows[j]) < 0; });
    return index;
  };
  const auto of_a = order(a), of_b = order(b);
  for (std::size_t i = 0; i < of_a.size(); ++i)
    if (compare(a.rows[of_a[i]], b.rows[of_b[i]]) != 0) return false;
  return true;
}

}  // namespace cli
