#include "expert/optimizer.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/core/random.hpp"
#include "expert/io/safetensors.hpp"

namespace optimizer_test {
using namespace expert;

TEST_CASE("learning rates equal transformers' schedules at every step", "[optimizer]") {
  const SafetensorsFile file(std::string(EXPERT_SOURCE_DIR) + "/tests/data/optimizer.safetensors");
  const auto totals = file.find("total_steps")->as<std::int64_t>(),
             warmups = file.find("warmup_steps")->as<std::int64_t>();
  REQUIRE(totals.size() == 5);
  for (const std::string_view name : lr_scheduler_names)
    for (std::size_t i = 0; i < totals.size(); ++i) {
      const auto expected = file.find("schedule." + std::string(name) + "." + std::to_string(i))->as<double>();
      REQUIRE(std::cmp_equal(expected.size(), totals[i]));
      OptimizerOptions o;
      o.lr_scheduler = lr_scheduler_of(name);
      o.warmup_steps = warmups[i];
      for (std::int64_t step = 0; step < totals[i]; ++step) {
        INFO(name << ", case " << i << ", step " << step);
        const double theirs = expected[static_cast<std::size_t>(step)];
        CHECK(std::abs(learning_rate_at(o, step, totals[i]) - theirs) <= 1e-15 * o.learning_rate);
      }
    }
}

TEST_CASE("a warm-up ratio is rounded up to steps, and warmup_steps goes before it", "[optimizer]") {
  OptimizerOptions o;
  o.warmup_ratio = 0.1;
  CHECK(warmup_steps_of(o, 100) == 10);
  CHECK(warmup_steps_of(o, 101) == 11);
  CHECK(warmup_steps_of(o, 0) == 0);
  o.warmup_steps = 3;
  CHECK(warmup_steps_of(o, 100) == 3);
}

TEST_CASE("norm and update have the same bits at any number of threads, and as the reference", "[optimizer]") {
  const std::int64_t n = 70001;
  const RandomStream random(3, Purpose::init_lora_a);
  std::vector<float> gradients(static_cast<std::size_t>(n)), initial(gradients.size());
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    gradients[i] = static_cast<float>(random.normal(i));
    initial[i] = random.uniform(i);
  }
  OptimizerOptions o;
  o.weight_decay = 0.01;
  const double norm = reference::global_norm(gradients.data(), n);
  std::vector<float> expected = initial, m0(gradients.size()), v0(gradients.size());
  reference::adamw(AdamWStep(1e-3, o.beta1, o.beta2, o.epsilon, o.weight_decay, 1, clip_coefficient(norm, 1.0)), n,
                   expected.data(), gradients.data(), m0.data(), v0.data());
  for (const int threads : {1, 2, 3}) {
    CpuDevice device(threads, Isa::Scalar);
    Cpu cpu = device.cpu();
    CHECK(global_norm(cpu, gradients.data(), n) == norm);
    std::vector<float> p = initial, m(gradients.size()), v(gradients.size());
    adamw_update(cpu, o, 1, 1e-3, clip_coefficient(norm, 1.0), n, p.data(), gradients.data(), m.data(), v.data());
    CHECK(p == expected);
    CHECK(m == m0);
    CHECK(v == v0);
  }
}

TEST_CASE("a gradient that is not finite shows in the norm", "[optimizer]") {
  CpuDevice device(1, Isa::Scalar);
  Cpu cpu = device.cpu();
  std::vector<float> g(1000, 1.0f);
  g[777] = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(global_norm(cpu, g.data(), 1000)));
  g[777] = -std::numeric_limits<float>::infinity();
  CHECK(std::isinf(global_norm(cpu, g.data(), 1000)));
}

TEST_CASE("E308: an option of the optimizer that cannot be is refused with its pointer", "[optimizer]") {
  const auto refused = [](auto change, const std::string& key) {
    OptimizerOptions o;
    check_optimizer_options(o);  // the defaults stand
    change(o);
    const Error error = error_of([&] { check_optimizer_options(o, "manifest.json"); });
    CHECK(error.code() == 308);
    CHECK(contains(error.what(), "manifest.json, /training/config/" + key + "."));
  };
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  refused([&](OptimizerOptions& o) { o.learning_rate = -1; }, "learning_rate");
  refused([&](OptimizerOptions& o) { o.learning_rate = infinity; }, "learning_rate");
  refused([&](OptimizerOptions& o) { o.beta1 = 1; }, "adam_beta1");
  refused([&](OptimizerOptions& o) { o.beta2 = nan; }, "adam_beta2");
  refused([&](OptimizerOptions& o) { o.epsilon = 0; }, "adam_epsilon");
  refused([&](OptimizerOptions& o) { o.weight_decay = nan; }, "weight_decay");
  refused([&](OptimizerOptions& o) { o.max_grad_norm = -1; }, "max_grad_norm");
  refused([&](OptimizerOptions& o) { o.warmup_steps = -1; }, "warmup_steps");
  refused([&](OptimizerOptions& o) { o.warmup_ratio = 1.5; }, "warmup_ratio");
  refused([&](OptimizerOptions& o) { o.warmup_ratio = 0.1, o.warmup_steps = 5; }, "warmup_ratio");
  const Error error = error_of([] { lr_scheduler_of("polynomial\n", "manifest.json"); });
  CHECK(error.code() == 308);
  CHECK(contains(error.what(), "/training/config/lr_scheduler"));
  CHECK(contains(error.what(), "\"polynomial\\x0a\""));
}

}  // namespace optimizer_test
