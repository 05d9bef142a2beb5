#include "expert/cpu/linear.hpp"

#include <cmath>
#include <cstring>
#include <vector>

#include "catch.hpp"
#include "expert/cpu/instances.hpp"
#include "packed_sample.hpp"
#include "usable_isas.hpp"

namespace linear_test {
using namespace expert;
using namespace expert::tests;

TEST_CASE("few rows of bf16 times weights of a checkpoint: right, and each row as if alone", "[linear]") {
  for (const Isa isa : all_usable_isas())
    for (const Shape& shape : {Shape{1, 1}, {5, 33}, {70, 64}, {129, 1000}}) {
      CpuDevice device(2, isa);
      Cpu cpu = device.cpu();
      const std::int64_t out = shape.out, in = shape.in;
      const auto w = random_values<bf16>(out * in, 1), x = random_values<bf16>(gemv_rows * in, 2);
      const MatrixView view{.data = w.data(), .out = out, .in = in, .storage = Storage::bf16};
      std::vector<bf16> alone(index(gemv_rows * out));
      for (std::int64_t r = 0; r < gemv_rows; ++r)
        linear_forward(cpu, 1, view, x.data() + r * in, alone.data() + r * out);
      double worst = 0;
      for (std::int64_t r = 0; r < gemv_rows; ++r)
        for (std::int64_t i = 0; i < out; ++i) {
          double sum = 0, magnitude = 0;
          for (std::int64_t k = 0; k < in; ++k) {
            const double product = double{float(x[index(r * in + k)])} * double{float(w[index(i * in + k)])};
            sum += product, magnitude += std::abs(product);
          }
          const double bound = static_cast<double>(in) * 0x1p-24 * magnitude + 0x1.02p-8 * std::abs(sum) + 1e-30;
          worst = std::max(worst, std::abs(double{float(alone[index(r * out + i)])} - sum) / bound);
        }
      INFO(name_of(isa) << " " << out << " x " << in);
      CHECK(worst <= 1);
      for (const std::int64_t rows : {2, 3, 4, 7, 8}) {
        std::vector<bf16> together(index(rows * out));
        linear_forward(cpu, rows, view, x.data(), together.data());
        CHECK(std::memcmp(together.data(), alone.data(), together.size() * sizeof(bf16)) == 0);
      }
    }
}

namespace {

// Largest error of `product` (out, r) = w a^T in units of a bound: one rounding of each number of w to bf16, 16 bits of
// each of a, and f32 sums over both of its parts.
double row_product_error(const std::vector<float>& w, const std::vector<float>& a, const std::vector<float>& product,
                         std::int64_t in) {
  const std::int64_t out = std::ssize(w) / in, r = std::ssize(a) / in;
  double worst = 0;
  for (std::int64_t i = 0; i < out; ++i)
    for (std::int64_t k = 0; k < r; ++k) {
      double sum = 0, magnitude = 0;
      for (std::int64_t j = 0; j < in; ++j) {
        const double x = double{w[index(i * in + j)]} * double{a[index(k * in + j)]};
        sum += x, magnitude += std::abs(x);
      }
      const double bound = (0x1.01p-8 + 0x1p-16 + static_cast<double>(in) * 0x1p-23) * magnitude + 1e-30;
      const double error = std::abs(double{product[index(i * r + k)]} - sum) / bound;
      if (!(error <= worst)) worst = error;
    }
  return worst;
}

}  // namespace

TEST_CASE("a packed matrix unpacks to its numbers, and its row products are those of them", "[linear]") {
  for (const Isa isa : all_usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    for (const Shape& shape : shapes)
      for (const PackedFormat format : formats) {
        const Sample s = sample(cpu, format, shape.out, shape.in);
        const std::int64_t out = shape.out, in = shape.in, r = 11;
        const auto a = random_values<float>(r * in, 5);
        const MatrixView plain{.data = s.dense.data(), .out = out, .in = in, .storage = Storage::f32};
        std::vector<float> unpacked(s.dense.size()), square(index(out)), plain_square(square), product(index(out * r)),
            plain_product(product);
        with_format(format, [&](auto f) {
          const PackedView<f()> view{s.packed, out, in};
          detail::with_weight(cpu, view, unpacked.data(), [](const float*) {});
          weight_row_squares(cpu, view, square.data());
          weight_times_rows<float>(cpu, view, r, a.data(), product.data());
          std::vector<float> in_bf16(product.size());
          weight_times_rows<bf16>(cpu, view, r, a.data(), in_bf16.data());
          CHECK(row_product_error(s.dense, a, in_bf16, in) <= 1);
        });
        weight_row_squares(cpu, plain, plain_square.data());
        weight_times_rows<float>(cpu, plain, r, a.data(), plain_product.data());
        INFO(name_of(isa) << " " << name_of_format(format) << " " << out << " x " << in);
        CHECK(unpacked == s.dense);
        CHECK(square == plain_square);
        CHECK(product == plain_product);
      }
  }
}

namespace {

// Largest error of y = x W^T + term and of d_x = d_y W + term, in units of a bound: the roundings of f32 sums, one to
// bf16 of the weights and of the scaled factor, one of the product and one with the term.
template <class View>
double term_error(Cpu& cpu, const View& w, const std::vector<float>& numbers, bool backward, std::int64_t rows,
                  std::int64_t r, bool by_rank, float scale) {
  const std::int64_t k = backward ? w.out : w.in, n = backward ? w.in : w.out;
  const auto x = random_values<bf16>(rows * k, 1), left = random_values<bf16>(rows * r, 2),
             factor = random_values<bf16>(n * r, 3);
  std::vector<bf16> y(index(rows * n));
  const LowRankTerm<bf16> term{left.data(), factor.data(), by_rank, r, scale};
  if (backward)
    linear_backward_input(cpu, rows, w, x.data(), false, y.data(), &term);
  else
    linear_forward(cpu, rows, w, x.data(), y.data(), &term);
  double worst = 0;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0, added = 0, magnitude = 0, added_magnitude = 0;
      const auto count = [](double product, double& to, double& size) { to += product, size += std::abs(product); };
      for (std::int64_t p = 0; p < k; ++p)
        count(double{x[index(i * k + p)]} * double{numbers[index(backward ? p * n + j : j * k + p)]}, sum, magnitude);
      for (std::int64_t p = 0; p < r; ++p)
        count(double{scale} * double{left[index(i * r + p)]} * double{factor[index(by_rank ? p * n + j : j * r + p)]},
              added, added_magnitude);
      const double bound = (static_cast<double>(k + r + 8) * 0x1p-24 + 0x1p-8) * (magnitude + added_magnitude) +
                           0x1.02p-8 * (std::abs(sum) + std::abs(sum + added)) + 1e-30;
      const double error = std::abs(double{y[index(i * n + j)]} - sum - added) / bound;
      if (!(error <= worst)) worst = error;
    }
  return worst;
}

}  // namespace

TEST_CASE("a low-rank term is part of the product, for few rows and many, in each storage", "[linear]") {
  for (const Isa isa : all_usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    for (const Shape& shape : {Shape{5, 33}, {33, 96}, {70, 1096}})
      for (const std::int64_t rows : {3, 40})
        for (const std::int64_t r : {1, 12, 130}) {
          if (isa == Isa::AmxEmulated && shape.in > 100 && r > 12) continue;  // it is slow
          const bool by_rank = (rows + r) % 2 == 0;
          const float scale = r == 12 ? 2.0f : 1.3f;
          INFO(name_of(isa) << " " << shape.out << " x " << shape.in << ", " << rows << " rows, r " << r);
          for (const PackedFormat format : formats) {
            const Sample s = sample(cpu, format, shape.out, shape.in);
            with_format(format, [&](auto f) {
              const PackedView<f()> view{s.packed, shape.out, shape.in};
              CHECK(term_error(cpu, view, s.dense, false, rows, r, by_rank, scale) <= 1);
              CHECK(term_error(cpu, view, s.dense, true, rows, r, by_rank, scale) <= 1);
            });
          }
          const auto w = random_values<bf16>(shape.out * shape.in, 7);
          const std::vector<float> numbers(w.begin(), w.end());
          const MatrixView plain{.data = w.data(), .out = shape.out, .in = shape.in, .storage = Storage::bf16};
          CHECK(term_error(cpu, plain, numbers, false, rows, r, by_rank, scale) <= 1);
          CHECK(term_error(cpu, plain, numbers, true, rows, r, by_rank, scale) <= 1);
        }
  }
}

}  // namespace linear_test
