#include "expert/cpu/linear.hpp"

#include <cmath>
#include <cstring>
#include <vector>

#include "catch.hpp"
#include "packed_sample.hpp"
#include "usable_isas.hpp"

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
          weight_times_rows(cpu, view, r, a.data(), product.data());
        });
        weight_row_squares(cpu, plain, plain_square.data());
        weight_times_rows(cpu, plain, r, a.data(), plain_product.data());
        INFO(name_of(isa) << " " << name_of_format(format) << " " << out << " x " << in);
        CHECK(unpacked == s.dense);
        CHECK(square == plain_square);
        CHECK(product == plain_product);
      }
  }
}
