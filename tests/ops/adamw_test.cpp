#include "expert/ops/adamw.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "differences.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/ops/global_norm.hpp"

namespace adamw_test {
using namespace expert;
TEST_CASE("eight clipped steps equal torch's parameters and moments", "[adamw]") {
  const SafetensorsFile file(std::string(EXPERT_SOURCE_DIR) + "/tests/data/optimizer.safetensors");
  const auto floats = [&](const std::string& name) { return file.find(name)->to_f32(); };
  auto parameters = floats("adamw.initial");
  std::vector<float> m(100), v(100);
  for (int t = 0; t < 8; ++t) {
    const auto gradients = floats("adamw.gradient." + std::to_string(t));
    const double norm = reference::global_norm(gradients.data(), 100);
    CHECK(std::abs(norm / double{floats("adamw.norm." + std::to_string(t))[0]} - 1) < 2e-7);
    const AdamWStep step(1e-2, 0.8, 0.95, 1e-6, 0.1, t + 1, clip_coefficient(norm, 1.0));
    reference::adamw(step, 100, parameters.data(), gradients.data(), m.data(), v.data());
    CHECK(max_abs_difference(parameters, floats("adamw.parameter." + std::to_string(t))) < 1e-6);
  }
  CHECK(max_abs_difference(m, floats("adamw.exp_avg")) < 1e-7);
  CHECK(max_abs_difference(v, floats("adamw.exp_avg_sq")) < 1e-7);
}

TEST_CASE("a zero gradient only decays a parameter, and zero decay leaves it as it is", "[adamw]") {
  float p = 2, m = 0, v = 0;
  const float g = 0;
  reference::adamw(AdamWStep(0.1, 0.9, 0.999, 1e-8, 0.5, 1), 1, &p, &g, &m, &v);
  CHECK(p == 2 * 0.95f);
  reference::adamw(AdamWStep(0.1, 0.9, 0.999, 1e-8, 0, 2), 1, &p, &g, &m, &v);
  CHECK(p == 2 * 0.95f);
}

TEST_CASE("clipping scales down to the limit, never up", "[global_norm]") {
  CHECK(clip_coefficient(0.5, 1.0) == 1.0);
  CHECK(clip_coefficient(0, 1.0) == 1.0);
  CHECK(clip_coefficient(100, 0) == 1.0);
  CHECK(std::abs(clip_coefficient(4, 1.0) - 0.25) < 1e-6);
}

TEST_CASE("the norm holds every number once, whatever the count", "[global_norm]") {
  for (const std::int64_t n : {0, 1, 7, 255, 256, 257, 511, 4097, 100000}) {
    std::vector<float> x(static_cast<std::size_t>(n), 1.0f);
    CHECK(reference::global_norm(x.data(), n) == std::sqrt(static_cast<double>(n)));
    std::int64_t covered = 0;
    for (std::int64_t s = 0; s < norm_sections; ++s) {
      const NormSection section = norm_section(n, s);
      REQUIRE(section.count >= 0);
      if (section.count > 0) REQUIRE(section.first == covered);
      covered += section.count;
    }
    CHECK(covered == n);
  }
  const std::vector<float> large = {3e38f, 3e38f};
  CHECK(std::abs(reference::global_norm(large.data(), 2) / (3e38 * std::sqrt(2.0)) - 1) < 1e-6);
}

}  // namespace adamw_test
