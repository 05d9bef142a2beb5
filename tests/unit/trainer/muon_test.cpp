// Muon: the reference, the update on all instruction sets, and training of a base and of an adapter with it.
#include "catch.hpp"
#include "expert/core/random.hpp"
#include "expert/cpu/device.hpp"
#include "expert/optimizer.hpp"
#include "expert/plan/memory.hpp"
#include "expert/policy/assemble.hpp"
#include "usable_isas.hpp"

namespace muon_test {

namespace {

using namespace expert;

std::vector<float> gradients(std::int64_t n, std::uint64_t seed) {
  const RandomStream random(seed, Purpose::random_base);
  std::vector<float> g(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < g.size(); ++i) g[i] = random.uniform(i) - 0.5f;
  return g;
}

std::vector<float> transposed(const std::vector<float>& x, std::int64_t rows, std::int64_t cols) {
  std::vector<float> y(x.size());
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j)
      y[static_cast<std::size_t>(j * rows + i)] = x[static_cast<std::size_t>(i * cols + j)];
  return y;
}

// W after one step of the equations of ops/muon.hpp, in the reference's loops; the momentum starts at 0.
std::vector<float> expected_step(std::vector<float> w, const std::vector<float>& g, std::int64_t rows,
                                 std::int64_t cols, const OptimizerOptions& o, double learning_rate, double clip) {
  std::vector<float> u(g.size());
  double square = 0;
  for (std::size_t i = 0; i < g.size(); ++i) {
    float momentum = 0;
    u[i] = muon_momentum(0.95f, g[i] * static_cast<float>(clip), momentum);
    square += double{u[i]} * double{u[i]};
  }
  for (float& x : u) x /= static_cast<float>(std::sqrt(square) + muon_epsilon);
  const bool wide = rows <= cols;
  const std::int64_t side = std::min(rows, cols), longer = std::max(rows, cols);
  if (!wide) u = transposed(u, rows, cols);
  std::vector<float> scratch(static_cast<std::size_t>(2 * side * side + side * longer));
  reference::newton_schulz_wide(side, longer, u.data(), scratch.data());
  if (!wide) u = transposed(u, cols, rows);
  for (std::size_t i = 0; i < w.size(); ++i)
    w[i] = w[i] * static_cast<float>(1 - learning_rate * o.weight_decay) -
           muon_step_size(learning_rate, rows, cols) * u[i];
  return w;
}

}  // namespace

TEST_CASE("Newton-Schulz brings all singular values near 1") {
  const std::int64_t rows = 24, cols = 40;
  std::vector<float> x = gradients(rows * cols, 3);
  double square = 0;
  for (const float v : x) square += double{v} * double{v};
  for (float& v : x) v /= static_cast<float>(std::sqrt(square));
  std::vector<float> scratch(static_cast<std::size_t>(2 * rows * rows + rows * cols));
  reference::newton_schulz_wide(rows, cols, x.data(), scratch.data());
  // The quintic maps (0, 1] into about [0.68, 1.13] (Jordan et al.), so X X^T has such squares on its diagonal.
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < rows; ++j) {
      double dot = 0;
      for (std::int64_t k = 0; k < cols; ++k)
        dot += double{x[static_cast<std::size_t>(i * cols + k)]} * double{x[static_cast<std::size_t>(j * cols + k)]};
      if (i == j) {
        CHECK(dot > 0.4);
        CHECK(dot < 1.4);
      } else {
        CHECK(std::abs(dot) < 0.35);
      }
    }
}

TEST_CASE("one step equals the reference, wide and tall, at every instruction set and thread count") {
  OptimizerOptions o;
  o.weight_decay = 0.1;
  for (const auto& [rows, cols] : {std::pair<std::int64_t, std::int64_t>{33, 70}, {70, 33}, {1, 19}, {48, 48}}) {
    const std::int64_t n = rows * cols, side = std::min(rows, cols);
    const std::vector<float> g = gradients(n, 5), start = gradients(n, 6);
    const std::vector<float> expected = expected_step(start, g, rows, cols, o, 0.01, 0.5);
    for (const Isa isa : usable_isas()) {
      std::vector<float> first;
      for (const int threads : {1, 3}) {
        CpuDevice device(threads, isa);
        Cpu cpu = device.cpu();
        std::vector<float> w = start, momentum(start.size()), scratch(static_cast<std::size_t>(2 * (n + side * side)));
        muon_update<Muon>(cpu, o, 0.01, 0.5, rows, cols, w.data(), g.data(), momentum.data(), scratch.data());
        for (std::size_t i = 0; i < w.size(); ++i) CHECK(w[i] == Approx(expected[i]).margin(2e-5));
        CHECK(momentum[0] == Approx(0.05 * 0.5 * g[0]));
        if (first.empty()) first = w;
        CHECK(w == first);
      }
    }
  }
}

TEST_CASE("a zero gradient moves nothing but the decay") {
  CpuDevice device(1);
  Cpu cpu = device.cpu();
  OptimizerOptions o;
  o.weight_decay = 0;
  std::vector<float> w(12, 2.0f), g(12), momentum(12), scratch(2 * (12 + 9));
  muon_update<Muon>(cpu, o, 0.1, 1, 3, 4, w.data(), g.data(), momentum.data(), scratch.data());
  CHECK(w == std::vector<float>(12, 2.0f));
}

TEST_CASE("the plan holds Muon's scratch for the largest trained matrix, and none under AdamW") {
  using M = HfDecoder<32, 2, 4, 2, 8, 48, 64, true>;
  using Full = Expert<M, FullFineTune, Muon, Compute<f32>, Packing<16>, Batch<2>>;
  constexpr auto plan = TrainingPlan<Full>::regions(32);
  STATIC_REQUIRE(plan[TrainingPlan<Full>::muon_scratch].bytes == 4 * 2 * (48 * 32 + 32 * 32));
  using Adapted = Expert<M, DoRA<4>, Muon, Packing<16>, Batch<2>>;
  STATIC_REQUIRE(TrainingPlan<Adapted>::regions(32)[TrainingPlan<Adapted>::muon_scratch].bytes ==
                 4 * 2 * (48 * 4 + 4 * 4));
  using Adam = Expert<M, DoRA<4>, Packing<16>, Batch<2>>;
  STATIC_REQUIRE(TrainingPlan<Adam>::regions(32)[TrainingPlan<Adam>::muon_scratch].bytes == 0);
}

}  // namespace muon_test
