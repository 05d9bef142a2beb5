// The greedy choice and the draw in vectors against the reference, on every instruction set of this machine.
#include "expert/cpu/sample.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "expert/core/random.hpp"
#include "sample_scratch.hpp"
#include "usable_isas.hpp"

namespace cpu_sample_test {
using namespace expert;

namespace {

constexpr float infinite = std::numeric_limits<float>::infinity(),
                not_a_number = std::numeric_limits<float>::quiet_NaN();

std::int64_t drawn(Cpu& cpu, std::vector<float> logits, const std::vector<std::int32_t>& history,
                   const SamplingOptions& options, double u) {
  Scratch scratch(logits.size());
  return draw_token(cpu, std::ssize(logits), logits.data(), history, options, u, scratch.get());
}

// The reference's probabilities. Empty where it draws nothing.
std::vector<float> expected_probabilities(std::vector<float> logits, const std::vector<std::int32_t>& history,
                                          const SamplingOptions& options) {
  Scratch scratch(logits.size());
  if (!reference::warp(logits, history, options, scratch.get())) return {};
  reference::softmax(logits, logits);
  return logits;
}
// Summed up: entry i + 1 is that of all tokens up to i.
std::vector<double> borders_of(const std::vector<float>& probabilities) {
  std::vector<double> borders(1);
  for (const float p : probabilities) borders.push_back(borders.back() + double{p});
  for (double& border : borders) border /= borders.back();
  return borders;
}

const SamplingOptions all_options[] = {
    {},
    {.temperature = 0.6},
    {.top_k = 1},
    {.top_k = 20},
    {.top_k = 700},
    {.top_p = 0},
    {.top_p = 0.1},
    {.top_p = 0.5},
    {.top_p = 0.95},
    {.top_p = 0.9999},
    {.min_p = 0.05},
    {.min_p = 1},
    {.temperature = 0.7, .top_p = 0.9, .repetition_penalty = 1.1},
    {.temperature = 0.6, .top_k = 20, .top_p = 0.95, .min_p = 0.01},
    {.temperature = 3, .top_k = 500, .top_p = 0.8, .min_p = 0.1, .repetition_penalty = 1.3},
};

}  // namespace

TEST_CASE("a draw lands where the reference's probabilities say, whatever is removed", "[sample]") {
  constexpr double near = 2e-6;  // a border, in probability
  const std::vector<std::int32_t> history = {0, 1, 1, 70, -1, 100000};
  for (const Isa isa : usable_isas()) {
    CpuDevice device(1, isa);
    Cpu cpu = device.cpu();
    for (std::uint32_t round = 0; round < 30; ++round)
      for (const std::size_t n : std::initializer_list<std::size_t>{1, 2, 63, 64, 65, 130, 1000, 5000}) {
        const std::vector<float> logits = random_logits(n, round);
        for (const SamplingOptions& options : all_options) {
          const std::vector<float> probabilities = expected_probabilities(logits, history, options);
          REQUIRE_FALSE(probabilities.empty());
          const std::vector<double> borders = borders_of(probabilities);
          std::size_t wrong = 0;
          for (const double u : {0.0, 1e-9, 0.03, 0.25, 0.5, 0.77, 0.97, 0.999999, std::nextafter(1.0, 0.0)}) {
            const std::int64_t token = drawn(cpu, logits, history, options, u);
            REQUIRE((token >= 0 && std::cmp_less(token, n)));
            const auto at = static_cast<std::size_t>(token);
            wrong += !(probabilities[at] > 0 && u >= borders[at] - near && u <= borders[at + 1] + near);
          }
          INFO(name_of(isa) << " " << n << " round " << round << " option " << &options - all_options);
          CHECK(wrong == 0);
        }
      }
  }
}

TEST_CASE("the vectors of the greedy choice take the first of the largest", "[sample]") {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(1, isa);
    Cpu cpu = device.cpu();
    const auto greedy = [&](const std::vector<float>& x) { return greedy_token(cpu, std::ssize(x), x.data()); };
    CHECK(greedy({1, 3, 3, 2}) == 1);
    CHECK(greedy({-infinite, -infinite}) == 0);
    CHECK(greedy({1, infinite, 3}) == 1);
    CHECK(greedy({1, not_a_number, 3}) == -1);
    CHECK(greedy({not_a_number}) == -1);
    CHECK(greedy({}) == -1);
    for (std::uint32_t round = 0; round < 20; ++round)
      for (const std::size_t n : std::initializer_list<std::size_t>{1, 15, 64, 65, 1000}) {
        std::vector<float> logits = random_logits(n, round);
        CHECK(greedy(logits) == reference::argmax(logits));
        logits[n - 1] = not_a_number;
        CHECK(greedy(logits) == -1);
      }
  }
}

TEST_CASE("what cannot be drawn from gives -1 in vectors too", "[sample]") {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(1, isa);
    Cpu cpu = device.cpu();
    for (const SamplingOptions& options : all_options) {
      const auto draws = [&](const std::vector<float>& x, double u = 0.5) {
        return drawn(cpu, x, {}, options, u) >= 0;
      };
      CHECK(draws({1, 2, -infinite}));
      CHECK_FALSE(draws({1, not_a_number, 2}));
      CHECK_FALSE(draws({1, infinite, 2}));
      CHECK_FALSE(draws({-infinite, -infinite}));
      CHECK_FALSE(draws({}));
      CHECK_FALSE(draws({1, 2}, 1.0));
      CHECK_FALSE(draws({1, 2}, double{not_a_number}));
    }
    CHECK(drawn(cpu, {3e38f, 1}, {}, {.temperature = 1e-3}, 0.5) == -1);
  }
}

TEST_CASE("logits are widened without a change", "[sample]") {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(1, isa);
    Cpu cpu = device.cpu();
    for (const std::size_t n : std::initializer_list<std::size_t>{1, 16, 33, 1000}) {
      const std::vector<float> numbers = random_logits(n, 1);  // quarters
      std::vector<bf16> row(n);
      for (std::size_t i = 0; i < n; ++i) row[i] = bf16(numbers[i]);
      std::vector<float> from_bf16(n), from_float(n);
      widen_logits(cpu, std::ssize(row), row.data(), from_bf16.data());
      widen_logits(cpu, std::ssize(numbers), numbers.data(), from_float.data());
      CHECK(from_float == numbers);
      for (std::size_t i = 0; i < n; ++i) REQUIRE(from_bf16[i] == static_cast<float>(row[i]));
    }
  }
}

}  // namespace cpu_sample_test
