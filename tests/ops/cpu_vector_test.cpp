#include "expert/cpu/vector.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "expert/core/random.hpp"
#include "expert/cpu/instances.hpp"
#include "expert/ops/adamw.hpp"
#include "expert/ops/cross_entropy.hpp"
#include "expert/ops/dora.hpp"
#include "expert/ops/dropout.hpp"
#include "expert/ops/residual.hpp"
#include "expert/ops/rms_norm.hpp"
#include "expert/ops/swiglu.hpp"
#include "usable_isas.hpp"

namespace cpu_vector_test {
using namespace expert;

namespace {

template <class T>
std::vector<T> normal_values(std::int64_t n, std::uint64_t seed, double spread = 1) {
  const RandomStream random(seed, Purpose::random_base);
  std::vector<T> v(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = T(static_cast<float>(spread * random.normal(i)));
  return v;
}

// bf16: equal up to one unit in the last place, which a sum in another order may flip, in at most 2 % of the numbers.
// f32: within `tolerance` of the row's largest number.
template <class T>
void check_close(const std::vector<T>& got, const std::vector<T>& expected, double tolerance = 2e-6) {
  REQUIRE(got.size() == expected.size());
  double largest = 0, worst = 0;
  for (const T& x : expected) largest = std::max(largest, std::abs(double{float(x)}));
  std::size_t flipped = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(double{float(got[i])} - double{float(expected[i])});
    const double slack =
        sizeof(T) == 2 ? 0x1p-7 * std::abs(double{float(expected[i])}) + tolerance * largest : tolerance * largest;
    flipped += error > tolerance * largest;
    if (!(error <= slack))
      worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error / largest);
  }
  CHECK(worst == 0);
  CHECK(static_cast<double>(flipped) <= 0.02 * static_cast<double>(got.size()) + 2);
}

constexpr std::int64_t lengths[] = {1, 3, 4, 7, 8, 15, 16, 17, 33, 64, 96, 160, 515, 1024};

template <class Kernels>
double worst_exp_error() {  // in units in the last place of the exact result
  double worst = 0;
  for (std::int64_t i = 0; i < 2'000'000; ++i) {
    const float x = -87.0f + 175.5f * static_cast<float>(i) / 2e6f;
    const double exact = std::exp(double{x});
    const double ulp = std::ldexp(1.0, std::ilogb(exact) - 23);
    worst = std::max(worst, std::abs(double{Kernels::exp_one(x)} - exact) / ulp);
  }
  return worst;
}

}  // namespace

TEST_CASE("exp is within 1.1 units in the last place, and its ends are zero, infinity and NaN", "[vector]") {
  for (const Isa isa : usable_isas())
    with_kernels(isa, [&](auto kernels) {
      INFO(name_of(isa));
      const double worst = worst_exp_error<decltype(kernels)>();
      CHECK(worst <= 1.1);
      CHECK(worst > 0.4);  // else the measurement is broken: half a unit is unavoidable
      constexpr float infinity = std::numeric_limits<float>::infinity();
      CHECK(kernels.exp_one(0.0f) == 1.0f);
      CHECK(kernels.exp_one(-infinity) == 0.0f);
      CHECK(kernels.exp_one(-200.0f) == 0.0f);
      CHECK(kernels.exp_one(infinity) == infinity);
      CHECK(kernels.exp_one(89.0f) == infinity);
      CHECK(std::isfinite(kernels.exp_one(88.72f)));
      CHECK(std::isnan(kernels.exp_one(std::numeric_limits<float>::quiet_NaN())));
    });
}

TEMPLATE_TEST_CASE("rms_norm equals the reference, forward and backward, with strides", "[vector]", float, bf16) {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    for (const std::int64_t cols : lengths) {
      constexpr std::int64_t rows = 5;
      const std::int64_t xs = cols + 3, os = cols + 1, gs = cols + 2, ds = cols + 5;
      const auto x = normal_values<TestType>(rows * xs, 1), weight = normal_values<TestType>(cols, 2),
                 d_out = normal_values<TestType>(rows * gs, 3), d_before = normal_values<TestType>(rows * ds, 4);
      std::vector<TestType> out(static_cast<std::size_t>(rows * os), TestType(7.0f)), expected = out;
      std::vector<float> rstd(rows), rstd_expected(rows);
      rms_norm_forward(cpu, rows, cols, 1e-6f, x.data(), xs, weight.data(), out.data(), os, rstd.data());
      reference::rms_norm_forward(rows, cols, 1e-6f, x.data(), xs, weight.data(), expected.data(), os,
                                  rstd_expected.data());
      check_close(out, expected);
      check_close(rstd, rstd_expected);
      for (const bool accumulate : {false, true}) {
        auto d_x = d_before, d_expected = d_before;
        rms_norm_backward(cpu, rows, cols, x.data(), xs, weight.data(), rstd.data(), d_out.data(), gs, d_x.data(), ds,
                          accumulate);
        reference::rms_norm_backward(rows, cols, x.data(), xs, weight.data(), rstd.data(), d_out.data(), gs,
                                     d_expected.data(), ds, accumulate);
        check_close(d_x, d_expected, 4e-6);
      }
    }
  }
}

// Columns of an output with DoRA, and what the reference makes of their gradient.
template <class T>
struct DoraCase {
  std::vector<float> scale, norm, d_magnitude, d_magnitude_expected;

  DoraCase(std::int64_t cols, std::uint64_t seed)
      : scale(normal_values<float>(cols, seed)),
        norm(normal_values<float>(cols, seed + 1)),
        d_magnitude(scale.size(), 0.25f),
        d_magnitude_expected(d_magnitude) {
    for (float& n : norm) n = 0.5f + std::abs(n);
  }
  DoraColumns columns() { return {scale.data(), norm.data(), d_magnitude.data()}; }
  void expect(std::int64_t rows, const std::vector<T>& z, std::vector<T>& d) {
    const std::int64_t cols = std::ssize(scale);
    reference::dora_backward(rows, cols, cols, z.data(), scale.data(), norm.data(), d.data(), d.data(),
                             d_magnitude_expected.data());
  }
};

TEMPLATE_TEST_CASE("swiglu equals the reference, forward and backward, with and without DoRA", "[vector]", float,
                   bf16) {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    for (const std::int64_t cols : lengths)
      for (const int scales : {0, 1, 2, 3}) {  // of gate, of up
        const std::int64_t rows = cols < 70 ? 150 : 3;
        const auto gate = normal_values<TestType>(rows * cols, 1, 4), up = normal_values<TestType>(rows * cols, 2),
                   d_out = normal_values<TestType>(rows * cols, 3);
        DoraCase<TestType> with_gate(cols, 4), with_up(cols, 6);
        const DoraColumns c_gate = scales & 1 ? with_gate.columns() : DoraColumns{},
                          c_up = scales & 2 ? with_up.columns() : DoraColumns{};
        std::vector<TestType> out(gate.size()), expected = out, d_gate = d_out, d_up = out, d_gate_expected = out,
                                                d_up_expected = out;
        swiglu_forward(cpu, rows, cols, gate.data(), c_gate.scale, up.data(), c_up.scale, out.data());
        reference::swiglu_forward(rows, cols, gate.data(), c_gate.scale, up.data(), c_up.scale, expected.data());
        check_close(out, expected);
        swiglu_backward(cpu, rows, cols, gate.data(), c_gate, up.data(), c_up, d_gate.data(), d_gate.data(),
                        d_up.data());
        reference::swiglu_backward(rows, cols, gate.data(), c_gate.scale, up.data(), c_up.scale, d_out.data(),
                                   d_gate_expected.data(), d_up_expected.data());
        if (c_gate) with_gate.expect(rows, gate, d_gate_expected);
        if (c_up) with_up.expect(rows, up, d_up_expected);
        check_close(d_gate, d_gate_expected);
        check_close(d_up, d_up_expected);
        check_close(with_gate.d_magnitude, with_gate.d_magnitude_expected, 4e-6);
        check_close(with_up.d_magnitude, with_up.d_magnitude_expected, 4e-6);
      }
  }
}

TEST_CASE("DoRA's sums of more columns than there is room for are taken a part of the columns at a time", "[vector]") {
  constexpr std::int64_t rows = 2, cols = shared_workspace_floats / 2 + 333;
  const auto gate = normal_values<float>(rows * cols, 1), up = normal_values<float>(rows * cols, 2),
             d_out = normal_values<float>(rows * cols, 3);
  for (const Isa isa : usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    DoraCase<float> with_gate(cols, 4), with_up(cols, 6);
    std::vector<float> d_gate = d_out, d_up = d_out, d_gate_expected = d_out, d_up_expected = d_out;
    swiglu_backward(cpu, rows, cols, gate.data(), with_gate.columns(), up.data(), with_up.columns(), d_out.data(),
                    d_gate.data(), d_up.data());
    reference::swiglu_backward(rows, cols, gate.data(), with_gate.scale.data(), up.data(), with_up.scale.data(),
                               d_out.data(), d_gate_expected.data(), d_up_expected.data());
    with_gate.expect(rows, gate, d_gate_expected);
    with_up.expect(rows, up, d_up_expected);
    check_close(d_gate, d_gate_expected);
    check_close(d_up, d_up_expected);
    check_close(with_gate.d_magnitude, with_gate.d_magnitude_expected, 4e-6);
    check_close(with_up.d_magnitude, with_up.d_magnitude_expected, 4e-6);
  }
}

TEMPLATE_TEST_CASE("qk_norm_rope equals the reference, forward and backward, into a cache too", "[vector]", float,
                   bf16) {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    for (const std::int64_t head_dim : {2, 6, 16, 30, 34, 96, 128, 200})
      for (const bool scales : {false, true}) {
        constexpr std::int64_t tokens = 37, heads = 3, positions_count = 50;
        const std::int64_t width = heads * head_dim, half = head_dim / 2;
        const auto z = normal_values<TestType>(tokens * width, 1), weight = normal_values<TestType>(head_dim, 2),
                   d_out = normal_values<TestType>(tokens * width, 3);
        DoraCase<TestType> dora(width, 4);
        const DoraColumns columns = scales ? dora.columns() : DoraColumns{};
        const float* c = columns.scale;
        const auto cos = normal_values<float>(positions_count * half, 5),
                   sin = normal_values<float>(positions_count * half, 6);
        std::vector<std::int32_t> positions, rows;
        for (std::int32_t t = 0; t < tokens; ++t) {
          positions.push_back(t * 7 % std::int32_t{positions_count});
          rows.push_back((t * 7 + 3) % 40);
        }
        const RopeTable table{cos.data(), sin.data()};
        for (const bool mapped : {false, true}) {
          const std::int32_t* out_rows = mapped ? rows.data() : nullptr;
          const HeadLayout layout = mapped ? HeadLayout{head_dim + 1, 40 * (head_dim + 1)}  // head by head
                                           : HeadLayout{width + 3, head_dim};
          std::vector<TestType> out(static_cast<std::size_t>(43 * (width + 3 * heads)), TestType(9.0f)), expected = out;
          std::vector<float> rstd(static_cast<std::size_t>(tokens * heads)), rstd_expected = rstd;
          qk_norm_rope_forward(cpu, tokens, heads, head_dim, 1e-6f, z.data(), c, weight.data(), table, positions.data(),
                               out.data(), layout, out_rows, rstd.data());
          reference::qk_norm_rope_forward(tokens, heads, head_dim, 1e-6f, z.data(), c, weight.data(), table,
                                          positions.data(), expected.data(), layout, out_rows, rstd_expected.data());
          // In bf16 a flip before the rotation is a unit of a product, of which the result is a difference.
          check_close(out, expected, sizeof(TestType) == 2 ? 0x1p-9 : 2e-6);
          check_close(rstd, rstd_expected);
          auto g = d_out, g_expected = d_out;
          std::vector<float> d_weight(static_cast<std::size_t>(head_dim), 0.5f), d_weight_expected = d_weight,
                                                                                 partials(5 * d_weight.size());
          dora.d_magnitude = dora.d_magnitude_expected;
          qk_norm_rope_backward(cpu, tokens, heads, head_dim, z.data(), columns, weight.data(), table, positions.data(),
                                rstd.data(), g.data(), scales ? nullptr : d_weight.data(), partials.data(), 8);
          reference::qk_norm_rope_backward(tokens, heads, head_dim, z.data(), c, weight.data(), table, positions.data(),
                                           rstd.data(), g_expected.data(), scales ? nullptr : d_weight_expected.data());
          if (scales) dora.expect(tokens, z, g_expected);
          check_close(g, g_expected, 4e-6);
          check_close(dora.d_magnitude, dora.d_magnitude_expected, 4e-6);
          check_close(d_weight, d_weight_expected, 1e-5);
        }
      }
  }
}

TEMPLATE_TEST_CASE("residuals, column scales and DoRA's gradient equal the reference", "[vector]", float, bf16) {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    for (const std::int64_t cols : lengths)
      for (const bool scales : {false, true}) {
        constexpr std::int64_t rows = 21;
        const auto x = normal_values<TestType>(rows * cols, 1), z = normal_values<TestType>(rows * cols, 2),
                   d_y = normal_values<TestType>(rows * cols, 3);
        DoraCase<TestType> dora(cols, 4);
        const std::vector<float>& scale = dora.scale;
        const float* c = scales ? scale.data() : nullptr;
        std::vector<TestType> out(x.size()), expected = out;
        residual_add(cpu, rows, cols, x.data(), z.data(), c, out.data());
        reference::residual_add(rows, cols, x.data(), z.data(), c, expected.data());
        check_close(out, expected);

        convert(cpu, std::ssize(scale), scale.data(), out.data());
        for (std::size_t i = 0; i < scale.size(); ++i) REQUIRE(float(out[i]) == float(TestType(scale[i])));

        residual_subtract(cpu, rows, cols, x.data(), z.data(), out.data());
        reference::residual_subtract(rows, cols, x.data(), z.data(), expected.data());
        CHECK(std::memcmp(out.data(), expected.data(), out.size() * sizeof(TestType)) == 0);

        std::vector<std::int32_t> to_rows;
        for (std::int32_t t = 0; t < rows; ++t) to_rows.push_back(rows - 1 - t);
        for (const bool mapped : {false, true}) {
          const std::int32_t* out_rows = mapped ? to_rows.data() : nullptr;
          std::vector<TestType> wide(static_cast<std::size_t>(rows * (cols + 2)), TestType(3.0f)), wide_expected = wide;
          const std::int64_t heads = mapped && cols % 2 == 0 ? 2 : 1, head_dim = cols / heads;
          const HeadLayout layout = heads == 2 ? HeadLayout{head_dim, rows * head_dim + 1} : HeadLayout{cols + 2, cols};
          scale_columns(cpu, rows, heads, head_dim, z.data(), c, wide.data(), layout, out_rows);
          reference::scale_columns(rows, heads, head_dim, z.data(), c, wide_expected.data(), layout, out_rows);
          check_close(wide, wide_expected);
        }
        auto d_z = d_y, d_z_expected = d_y;
        dora_backward(cpu, rows, cols, z.data(), dora.columns(), d_z.data(), d_z.data());
        dora.expect(rows, z, d_z_expected);
        check_close(d_z, d_z_expected);
        check_close(dora.d_magnitude, dora.d_magnitude_expected, 4e-6);
      }
  }
}

// Rows that begin within a block of four numbers, and blocks behind 2^32 of them.
TEMPLATE_TEST_CASE("dropout draws the reference's mask, wherever a row begins", "[vector]", float, bf16) {
  constexpr std::int64_t rows = 3;
  for (const Isa isa : usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    for (const std::int64_t cols : lengths)
      for (const std::int64_t first : {std::int64_t{0}, std::int64_t{7}, (std::int64_t{1} << 34) / cols - 1})
        for (const float p : {0.0f, 0.05f, 0.9f}) {
          INFO(name_of(isa) << " cols " << cols << " first " << first << " p " << p);
          const DropoutMask mask{RandomStream(42, Purpose::dropout, 3, 5), first, p};
          const std::vector<TestType> x = normal_values<TestType>(rows * cols, 1),
                                      d_x = normal_values<TestType>(rows * cols, 2);
          std::vector<TestType> dropped(x.size()), rest(x.size()), expected(x.size()), expected_rest(x.size());
          reference::dropout_forward(rows, cols, mask, x.data(), expected.data(), expected_rest.data());
          dropout_forward(cpu, rows, cols, mask, x.data(), dropped.data(), rest.data());
          CHECK(std::memcmp(dropped.data(), expected.data(), x.size() * sizeof(TestType)) == 0);
          check_close(rest, expected_rest);
          dropout_forward(cpu, rows, cols, mask, x.data(), rest.data(), static_cast<TestType*>(nullptr));
          CHECK(std::memcmp(rest.data(), expected.data(), x.size() * sizeof(TestType)) == 0);
          std::vector<TestType> got = d_x;
          expected = d_x;
          reference::dropout_backward(rows, cols, mask, x.data(), expected.data());
          dropout_backward(cpu, rows, cols, mask, x.data(), got.data());
          check_close(got, expected);
        }
  }
}

TEST_CASE("adamw in vectors equals the reference", "[vector]") {
  for (const Isa isa : usable_isas())
    for (const std::int64_t n : lengths) {
      const auto g = normal_values<float>(n, 1);
      auto p = normal_values<float>(n, 2), m = normal_values<float>(n, 3, 0.1), v = normal_values<float>(n, 4, 0.1);
      for (float& x : v) x = x * x;
      auto p_expected = p, m_expected = m, v_expected = v;
      const AdamWStep step(1e-2, 0.9, 0.999, 1e-8, 0.1, 3, 0.7);
      with_kernels(isa, [&](auto kernels) { kernels.adamw_row(step, n, p.data(), g.data(), m.data(), v.data()); });
      reference::adamw(step, n, p_expected.data(), g.data(), m_expected.data(), v_expected.data());
      check_close(p, p_expected, 1e-6);
      check_close(m, m_expected, 1e-6);
      check_close(v, v_expected, 1e-6);
    }
}

TEMPLATE_TEST_CASE("cross entropy equals the reference, for every label and large logits", "[vector]", float, bf16) {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    for (const std::int64_t vocab : lengths)
      for (const double spread : {1.0, 30.0}) {
        const std::int64_t rows = std::min<std::int64_t>(vocab, 40);
        auto logits = normal_values<TestType>(rows * vocab, 1, spread), expected = logits;
        std::vector<std::int32_t> labels;
        for (std::int64_t t = 0; t < rows; ++t) labels.push_back(static_cast<std::int32_t>(vocab - 1 - t));
        std::vector<float> loss(static_cast<std::size_t>(rows)), loss_expected = loss;
        cross_entropy(cpu, rows, vocab, logits.data(), labels.data(), 0.25f, loss.data());
        reference::cross_entropy(rows, vocab, expected.data(), labels.data(), 0.25f, loss_expected.data());
        check_close(loss, loss_expected);
        check_close(logits, expected);
      }
  }
}

TEST_CASE("the gradient of a row's cross entropy sums to zero", "[vector]") {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(1, isa);
    Cpu cpu = device.cpu();
    auto logits = normal_values<float>(2048, 5, 3);
    const std::int32_t label = 77;
    float loss = 0;
    cross_entropy(cpu, 1, 2048, logits.data(), &label, 1.0f, &loss);
    double sum = 0;
    for (const float g : logits) sum += g;
    CHECK(std::abs(sum) < 1e-6);
    CHECK(loss > 0);
    CHECK(logits[77] < 0);
  }
}

TEST_CASE("vector ops have the same bits at any thread count and for a row alone", "[vector]") {
  for (const Isa isa : usable_isas()) {
    constexpr std::int64_t rows = 37, cols = 515;
    const auto x = normal_values<float>(rows * cols, 1), weight = normal_values<float>(cols, 2);
    std::vector<float> first(rows * cols), again(rows * cols), rstd(rows);
    for (const int threads : {1, 2, 3, 8}) {
      CpuDevice device(threads, isa);
      Cpu cpu = device.cpu();
      rms_norm_forward(cpu, rows, cols, 1e-6f, x.data(), cols, weight.data(), again.data(), cols, rstd.data());
      if (threads == 1) first = again;
      CHECK(std::memcmp(first.data(), again.data(), first.size() * sizeof(float)) == 0);
      std::vector<float> alone(cols);
      rms_norm_forward(cpu, 1, cols, 1e-6f, x.data() + 20 * cols, cols, weight.data(), alone.data(), cols, rstd.data());
      CHECK(std::memcmp(&first[20 * cols], alone.data(), cols * sizeof(float)) == 0);
    }
  }
}

}  // namespace cpu_vector_test
