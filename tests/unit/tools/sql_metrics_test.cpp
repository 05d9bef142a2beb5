// tools/sql_metrics.hpp: when two results are the same, and what a share's interval is.
#include "sql_metrics.hpp"

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "sql_worker.hpp"

namespace sql_metrics_test {
using namespace cli;

namespace {

constexpr std::int64_t big = (std::int64_t{1} << 53) + 1;  // no double
ResultSet rows(std::vector<ResultRow> list) { return {std::move(list)}; }

}  // namespace

TEST_CASE("Wilson's interval has the values of the published tables", "[eval]") {
  const auto near = [](Share share, double low, double high) {
    const Interval interval = wilson(share);
    CHECK(std::abs(interval.low - low) < 1e-4);
    CHECK(std::abs(interval.high - high) < 1e-4);
  };
  // R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, method 3.
  near({263, 81}, 0.2553, 0.3662);
  near({148, 15}, 0.0624, 0.1605);
  near({20, 0}, 0, 0.1611);
  near({29, 1}, 0.0061, 0.1718);
  near({1000, 1000}, 0.9962, 1);
}

TEST_CASE("an interval lies in [0, 1], holds the share, and narrows with n", "[eval]") {
  CHECK((wilson({0, 0}).low == 0 && wilson({0, 0}).high == 1));
  for (const std::int64_t n : {1, 2, 7, 100, 12345})
    for (std::int64_t count = 0; count <= n; count += 1 + n / 50) {
      const Share share{n, count};
      const Interval i = wilson(share), wider = wilson({2 * n, 2 * count});
      CHECK((0 <= i.low && i.low <= share.value() && share.value() <= i.high && i.high <= 1));
      CHECK(wider.high - wider.low < i.high - i.low);
    }
}

TEST_CASE("numbers compare by value, without rounding integers to doubles", "[eval]") {
  CHECK(compare(Cell(std::int64_t{1}), Cell(1.0)) == 0);
  CHECK(compare(Cell(1.5), Cell(std::int64_t{1})) > 0);
  CHECK(compare(Cell(std::int64_t{-1}), Cell(-1.5)) > 0);
  CHECK(compare(Cell(big), Cell(0x1p53)) > 0);
  CHECK(compare(Cell(0x1p53), Cell(big)) < 0);
  constexpr auto most = std::numeric_limits<std::int64_t>::max(), least = std::numeric_limits<std::int64_t>::min();
  CHECK(compare(Cell(most), Cell(0x1p63)) < 0);
  CHECK(compare(Cell(least), Cell(-0x1p63)) == 0);
  CHECK(compare(Cell(least), Cell(-std::numeric_limits<double>::infinity())) > 0);
  CHECK(compare(Cell(0.1 + 0.2), Cell(0.3)) != 0);
}

TEST_CASE("a text is no number, a blob is no text, null equals null only", "[eval]") {
  const std::vector<Cell> kinds{std::monostate{}, std::int64_t{1}, std::string("1"), Blob{"1"}};
  for (std::size_t i = 0; i < kinds.size(); ++i)
    for (std::size_t j = 0; j < kinds.size(); ++j) CHECK((compare(kinds[i], kinds[j]) == 0) == (i == j));
  CHECK(compare(Cell(std::string("a\0b", 3)), Cell(std::string("a"))) > 0);
}

TEST_CASE("rows are a bag, or a list where the order counts", "[eval]") {
  const ResultRow a{std::int64_t{1}, std::string("x")}, b{2.0, std::string("x")};
  const ResultRow b_as_integer{std::int64_t{2}, std::string("x")};
  CHECK(same_result(rows({a, b}), rows({b_as_integer, a}), false));
  CHECK(!same_result(rows({a, b}), rows({b, a}), true));
  CHECK(same_result(rows({a, b}), rows({a, b_as_integer}), true));
  CHECK(!same_result(rows({a, a, b}), rows({a, b, b}), false));
  CHECK(!same_result(rows({a}), rows({a, a}), false));
  CHECK(!same_result(rows({{Cell(1.0)}}), rows({{Cell(1.0), Cell(1.0)}}), false));
  CHECK(same_result(rows({}), rows({}), true));
}

}  // namespace sql_metrics_test
