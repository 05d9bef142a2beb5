#include "expert/ops/sample.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "expert/core/random.hpp"
#include "sample_scratch.hpp"

namespace sample_test {
using namespace expert;

namespace {

constexpr float infinite = std::numeric_limits<float>::infinity(),
                not_a_number = std::numeric_limits<float>::quiet_NaN();

// What `change` makes of the logits.
template <class F>
std::vector<float> warped(std::vector<float> logits, F&& change) {
  Scratch scratch(logits.size());
  change(std::span<float>(logits), scratch.get());
  return logits;
}
std::vector<float> top_k(std::vector<float> x, std::int64_t k) {
  return warped(std::move(x), [&](std::span<float> l, SampleScratch s) { reference::warp_top_k(l, k, s); });
}
std::vector<float> top_p(std::vector<float> x, double p) {
  return warped(std::move(x), [&](std::span<float> l, SampleScratch s) { reference::warp_top_p(l, p, s); });
}
std::vector<float> min_p(std::vector<float> x, double p) {
  return warped(std::move(x), [&](std::span<float> l, SampleScratch s) { reference::warp_min_p(l, p, s); });
}

}  // namespace

TEST_CASE("the repetition penalty counts every token of the history once, and skips what is no token", "[sample]") {
  const std::vector<std::int32_t> history = {1, 0, 1, -1, 3, 100000};
  CHECK(warped({2, -2, 3}, [&](std::span<float> l, SampleScratch s) {
          reference::warp_repetition_penalty(l, history, 2, s);
        }) == std::vector<float>{1, -4, 3});
}

TEST_CASE("greedy decoding takes the first of the largest logits", "[sample]") {
  CHECK(reference::argmax(std::vector<float>{1, 3, 3, 2}) == 1);
  CHECK(reference::argmax(std::vector<float>{-infinite, -infinite}) == 0);
  CHECK(reference::argmax(std::vector<float>{1, not_a_number, 3}) == -1);
  CHECK(reference::argmax(std::vector<float>{not_a_number}) == -1);
  CHECK(reference::argmax({}) == -1);
}

TEST_CASE("ties at the border of top_k all stay", "[sample]") {
  CHECK(top_k({1, 3, 2, 2, 2, 0}, 2) == std::vector<float>{-infinite, 3, 2, 2, 2, -infinite});
  CHECK(top_k({1, 2}, 1) == std::vector<float>{-infinite, 2});
  CHECK(top_k({1, 2}, 0) == std::vector<float>{1, 2});
  CHECK(top_k({1, 2}, 100) == std::vector<float>{1, 2});
}

TEST_CASE("top_p keeps the smallest set that passes p, at least one token, and of equals the later", "[sample]") {
  const float quarter = std::log(0.25f);
  // Cumulative from below: 0.25, 0.5, 0.75, 1: with p = 0.5 those up to 0.5 go, the lower indices first.
  CHECK(top_p({quarter, quarter, quarter, quarter}, 0.5) == std::vector<float>{-infinite, -infinite, quarter, quarter});
  CHECK(top_p({1, 5, 2}, 0.0) == std::vector<float>{-infinite, 5, -infinite});
  CHECK(top_p({1, 5, 2}, 1.0) == std::vector<float>{1, 5, 2});
  CHECK(top_p({-infinite, 5, -infinite}, 0.5) == std::vector<float>{-infinite, 5, -infinite});
  CHECK(top_p({-infinite, -infinite}, 0.5) == std::vector<float>{-infinite, -infinite});
  CHECK(top_p({7}, 0.0) == std::vector<float>{7});
}

TEST_CASE("top_k and top_p keep what sorting all logits would keep", "[sample]") {
  for (std::uint32_t round = 0; round < 60; ++round)
    for (const std::size_t n : std::initializer_list<std::size_t>{2, 3, 10, 100, 1000, 5000}) {
      const std::vector<float> logits = random_logits(n, round);
      std::vector<std::int32_t> order(n);
      for (std::size_t i = 0; i < n; ++i) order[i] = static_cast<std::int32_t>(i);
      const auto at = [&](std::int32_t i) { return logits[static_cast<std::size_t>(i)]; };
      std::sort(order.begin(), order.end(),
                [&](std::int32_t a, std::int32_t b) { return at(a) != at(b) ? at(a) < at(b) : a < b; });
      for (const std::int64_t k : {1, 2, 20, 64, 700}) {
        std::vector<float> expected = logits;
        if (std::cmp_less(k, n))
          for (float& x : expected)
            if (x < at(order[n - static_cast<std::size_t>(k)])) x = -infinite;
        CHECK(top_k(logits, k) == expected);
      }
      std::vector<float> probabilities(n);
      reference::softmax(logits, probabilities);
      for (const double p : {0.0, 0.1, 0.5, 0.9, 0.95, 0.999}) {
        std::vector<float> expected = logits;
        double cumulative = 0;
        for (std::size_t i = 0; i + 1 < n; ++i) {
          cumulative += double{probabilities[static_cast<std::size_t>(order[i])]};
          if (static_cast<float>(cumulative) > static_cast<float>(1 - p)) break;
          expected[static_cast<std::size_t>(order[i])] = -infinite;
        }
        CHECK(top_p(logits, p) == expected);
      }
    }
}

TEST_CASE("min_p removes what is less probable than its share of the best", "[sample]") {
  const float best = 0, half = std::log(0.5f), tenth = std::log(0.1f);
  CHECK(min_p({best, half, tenth}, 0.2) == std::vector<float>{best, half, -infinite});
  CHECK(min_p({best, half, tenth}, 1.0) == std::vector<float>{best, -infinite, -infinite});
  CHECK(min_p({best, half, tenth}, 0.0) == std::vector<float>{best, half, tenth});
}

TEST_CASE("sampling follows the probabilities and never takes a removed token", "[sample]") {
  const std::vector<float> p = {0, 0.25f, 0, 0.5f, 0.25f, 0};
  CHECK(reference::sample(p, 0) == 1);
  CHECK(reference::sample(p, 0.2499999) == 1);
  CHECK(reference::sample(p, 0.25) == 3);
  CHECK(reference::sample(p, 0.7499999) == 3);
  CHECK(reference::sample(p, 0.75) == 4);
  CHECK(reference::sample(p, std::nextafter(1.0, 0.0)) == 4);
  const RandomStream random(1, Purpose::init_lora_a);
  std::vector<int> counts(p.size());
  for (std::uint64_t i = 0; i < 20000; ++i)
    ++counts[static_cast<std::size_t>(reference::sample(p, double{random.uniform(i)}))];
  CHECK(counts[0] + counts[2] + counts[5] == 0);
  CHECK(std::abs(counts[3] - 10000) < 5 * 71);  // five standard deviations
  CHECK(std::abs(counts[1] - 5000) < 5 * 62);
}

TEST_CASE("what cannot be drawn from gives -1 or false, not a token", "[sample]") {
  CHECK(reference::sample(std::vector<float>{0.5f, not_a_number}, 0.1) == -1);
  CHECK(reference::sample(std::vector<float>{0, 0}, 0.1) == -1);
  CHECK(reference::sample(std::vector<float>{infinite, 0}, 0.1) == -1);
  CHECK(reference::sample(std::vector<float>{1}, 1.0) == -1);
  CHECK(reference::sample(std::vector<float>{1}, double{not_a_number}) == -1);
  CHECK(reference::sample({}, 0.5) == -1);
  const auto can_warp = [](std::vector<float> logits) {
    bool ok = true;
    warped(std::move(logits), [&](std::span<float> l, SampleScratch s) {
      ok = reference::warp(l, {}, {.temperature = 0.5, .top_k = 2, .top_p = 0.9, .min_p = 0.1}, s);
    });
    return ok;
  };
  CHECK(can_warp({1, 2, -infinite}));
  CHECK_FALSE(can_warp({1, not_a_number, 2}));
  CHECK_FALSE(can_warp({1, infinite, 2}));
  CHECK_FALSE(can_warp({-infinite, -infinite}));
  CHECK_FALSE(can_warp({}));
  // A temperature so small that the division overflows: infinite minus infinite is no probability.
  warped({3e38f, 1},
         [](std::span<float> l, SampleScratch s) { CHECK_FALSE(reference::warp(l, {}, {.temperature = 1e-3}, s)); });
}

TEST_CASE("the warpers come in transformers' order: penalty, temperature, top_k, top_p, min_p", "[sample]") {
  // What the processors of transformers 5.23 make of these logits, in the order of its generate(). Another order gives
  // other survivors in at least one row, but for temperature and top_k, which can be exchanged.
  const std::vector<float> logits = {2.5f, 2.25f, 2, 1.5f, 1, 0.5f, 0, -0.5f, -1, -3};
  const std::vector<std::int32_t> history = {0, 7, 0};
  struct Row {
    SamplingOptions options;
    std::vector<float> survivors;  // the first logits; each behind them is removed
  };
  const Row rows[] = {
      {{.temperature = 3, .top_k = 7, .top_p = 0.7, .min_p = 0.5, .repetition_penalty = 1.25},
       {0.6666666865348816f, 0.75f, 0.6666666865348816f, 0.5f, 0.3333333432674408f}},
      {{.temperature = 3, .top_k = 6, .top_p = 0.6, .min_p = 0.6, .repetition_penalty = 1.25},
       {0.6666666865348816f, 0.75f, 0.6666666865348816f, 0.5f}},
      {{.temperature = 2, .top_k = 8, .repetition_penalty = 8},
       {0.15625f, 1.125f, 1, 0.75f, 0.5f, 0.25f, 0, -infinite, -0.5f}},
  };
  for (const Row& row : rows) {
    std::vector<float> expected = row.survivors;
    expected.resize(logits.size(), -infinite);
    CHECK(warped(logits, [&](std::span<float> l, SampleScratch s) {
            CHECK(reference::warp(l, history, row.options, s));
          }) == expected);
  }
}

}  // namespace sample_test
