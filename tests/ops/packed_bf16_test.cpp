#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "expert/cpu/packed_linear.hpp"
#include "packed_case.hpp"
#include "usable_isas.hpp"

namespace packed_bf16_test {
using namespace expert;
using namespace expert::tests;

namespace {

// The worst error of any element in units of its bound: `terms` roundings of f32 on the sum of magnitudes, one to T,
// and what `more(r, c)` allows.
struct NoMore {
  double operator()(std::int64_t, std::int64_t) const { return 0; }
};
template <class T, class More = NoMore>
double worst_error(const T* got, std::int64_t ld, std::int64_t rows, std::int64_t cols, std::int64_t k, const bf16* x,
                   std::int64_t ldx, const std::vector<float>& w, bool by_column, const T* before,
                   const More& more = {}) {
  double worst = 0;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) {
      double sum = 0, magnitude = 0;
      for (std::int64_t p = 0; p < k; ++p) {
        const double product = double{float(x[r * ldx + p])} * double{w[index(by_column ? p * cols + c : c * k + p)]};
        sum += product, magnitude += std::abs(product);
      }
      const double old = before == nullptr ? 0 : double{float(before[r * ld + c])};
      const double bound = static_cast<double>(k + 8) * 0x1p-24 * (magnitude + std::abs(old)) +
                           (sizeof(T) == 2 ? 0x1.02p-8 : 0x1p-24) * std::abs(sum + old) + 1e-30 + more(r, c);
      const double error = std::abs(double{float(got[r * ld + c])} - sum - old) / bound;
      if (!(error <= worst)) worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
    }
  return worst;
}

// AVX2 multiplies few rows by codes in whole numbers (whole_kernels.inc): half a unit of x, of whose largest number of
// 64 there are 32767, or 8191 for nf4, times each weight; half a unit of nf4's levels times each x; and for
// int4_affine, whose zero is multiplied by the sum of x, what f32 rounds of the two sums.
bool in_whole_numbers(Isa isa, const PackedMatrix& w, std::int64_t rows) {
  return isa == Isa::Avx2 && w.format != PackedFormat::bf16 && rows <= gemv_rows && w.whole_blocks();
}
double whole_number_bound(const PackedMatrix& w, std::int64_t n, const bf16* x, const float* weights) {
  const bool nf4 = w.format == PackedFormat::nf4;
  const std::int64_t share = std::int64_t{1} << std::min(w.group_shift, 6);
  double bound = 0;
  for (std::int64_t first = 0; first < w.in; first += share) {
    const std::int64_t at = (n / 16 * w.groups() + (first >> w.group_shift)) * 16 + n % 16;
    double largest = 0, sum = 0, of_weights = 0;
    for (std::int64_t k = first; k < std::min(first + share, w.in); ++k) {
      largest = std::max(largest, std::abs(double{float(x[k])}));
      sum += std::abs(double{float(x[k])});
      of_weights += std::abs(double{weights[k]});
    }
    bound += 0.51 * largest / (nf4 ? 8191 : 32767) * of_weights;
    if (nf4) bound += 0.51 / 8191 * sum * double{w.scales[at]};
    if (w.format == PackedFormat::int4_affine)
      bound += 0x1p-22 * (15 + std::abs(double{w.zeros[at]})) * std::abs(double{w.scales[at]}) * sum;
  }
  return bound;
}

}  // namespace

TEST_CASE("bf16 products: weights rounded once, sums in f32, on each instruction set", "[packed]") {
  for (const Isa isa : all_usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    for (const PackedFormat format : formats)
      for (const Shape& shape : shapes) {
        const Sample s = sample(cpu, format, shape.out, shape.in);
        std::vector<float> rounded(s.dense.size());
        for (std::size_t i = 0; i < rounded.size(); ++i) rounded[i] = bf16(s.dense[i]);
        for (const std::int64_t rows : {1, 2, 4, 7, 9, 17, 37}) {
          if (rows > 9 && shape.out * shape.in > 50'000 && isa == Isa::AmxEmulated) continue;  // it is slow
          INFO(name_of(isa) << " " << name_of_format(format) << " " << rows << " x " << shape.out << " x " << shape.in);
          const std::int64_t out = shape.out, in = shape.in, pad = rows % 3;
          Operand<bf16> x(rows, in, pad, 1), d_y(rows, out, pad, 2), d_x(rows, in, 2 * pad, 3), before(d_x);
          Operand<float> y(rows, out, pad, 4);
          forward_of(cpu, rows, s.packed, x.data(), x.ld, y.data(), y.ld);
          backward_of(cpu, rows, s.packed, d_y.data(), d_y.ld, pad == 1, d_x.data(), d_x.ld);
          // Few rows meet the weights themselves.
          const bool straight = rows <= gemv_rows && s.packed.whole_blocks();
          const auto more = [&](std::int64_t r, std::int64_t n) {
            return in_whole_numbers(isa, s.packed, rows)
                       ? whole_number_bound(s.packed, n, x.data() + r * x.ld, &s.dense[index(n * in)])
                       : 0.0;
          };
          CHECK(worst_error<float>(y.data(), y.ld, rows, out, in, x.data(), x.ld, straight ? s.dense : rounded, false,
                                   nullptr, more) <= 1);
          CHECK(worst_error<bf16>(d_x.data(), d_x.ld, rows, in, out, d_y.data(), d_y.ld, rounded, true,
                                  pad == 1 ? before.data() : nullptr) <= 1);
          for (std::int64_t r = 0; r < rows; ++r)
            for (std::int64_t i = in; i < d_x.ld; ++i)
              REQUIRE(d_x.data()[r * d_x.ld + i].bits == before.data()[r * d_x.ld + i].bits);
        }
      }
  }
}

TEST_CASE("few rows of any size, of zeros, and with one number far above the rest", "[packed]") {
  for (const Isa isa : all_usable_isas()) {
    CpuDevice device(1, isa);
    Cpu cpu = device.cpu();
    for (const PackedFormat format : formats) {
      constexpr std::int64_t out = 40, in = 328, rows = 5;
      const Sample s = sample(cpu, format, out, in);
      for (const int exponent : {-126, -90, -30, 0, 60, 100}) {
        std::vector<bf16> x = random_values<bf16>(rows * in, 1);
        std::fill_n(x.begin(), in, bf16(0.0f));
        x[in + 70] = 300.0f;
        for (bf16& v : x) v = std::ldexp(float(v), exponent);
        std::vector<float> y(rows * out, 1.0f);
        forward_of(cpu, rows, s.packed, x.data(), in, y.data(), out);
        const auto more = [&](std::int64_t r, std::int64_t n) {
          return in_whole_numbers(isa, s.packed, rows)
                     ? whole_number_bound(s.packed, n, x.data() + r * in, &s.dense[index(n * in)])
                     : 0.0;
        };
        INFO(name_of(isa) << " " << name_of_format(format) << " 2^" << exponent);
        // What lies below 2^-90 may count as nothing: the bound's own 1e-30 is more.
        CHECK(worst_error<float>(y.data(), out, rows, out, in, x.data(), in, s.dense, false, nullptr, more) <= 1);
        CHECK(std::all_of(y.begin(), y.begin() + out, [](float v) { return v == 0; }));
      }
    }
  }
}

TEST_CASE("products in pairs have the emulation's bits on AMX", "[packed]") {
  if (!supports(cpu_features(), Isa::AmxBf16)) {
    WARN("skipped on this CPU: amx-bf16");
    return;
  }
  CpuDevice hardware(2, Isa::AmxBf16), emulated(1, Isa::AmxEmulated);
  Cpu amx = hardware.cpu(), emulation = emulated.cpu();
  for (const PackedFormat format : formats)
    for (const Shape& shape : shapes) {
      const Sample s = sample(amx, format, shape.out, shape.in);
      constexpr std::int64_t rows = 35;
      Operand<bf16> x(rows, shape.in, 1, 1), d_y(rows, shape.out, 0, 2);
      Operand<float> y(rows, shape.out, 0, 3), d_x(rows, shape.in, 1, 4), y2(y), d_x2(d_x);
      forward_of(amx, rows, s.packed, x.data(), x.ld, y.data(), y.ld);
      forward_of(emulation, rows, s.packed, x.data(), x.ld, y2.data(), y.ld);
      backward_of(amx, rows, s.packed, d_y.data(), d_y.ld, true, d_x.data(), d_x.ld);
      backward_of(emulation, rows, s.packed, d_y.data(), d_y.ld, true, d_x2.data(), d_x.ld);
      INFO(name_of_format(format) << " " << shape.out << " x " << shape.in);
      CHECK(same_bits(y.numbers, y2.numbers));
      CHECK(same_bits(d_x.numbers, d_x2.numbers));
    }
}

TEST_CASE("bits depend on neither the number of threads nor the other rows", "[packed]") {
  for (const Isa isa : all_usable_isas())
    for (const PackedFormat format : formats) {
      constexpr std::int64_t out = 301, in = 600, rows = 70;
      std::vector<bf16> y, d_x;
      CpuDevice one(1, isa);
      Cpu alone = one.cpu();
      const Sample s = sample(alone, format, out, in);
      Operand<bf16> x(rows, in, 0, 1), d_y(rows, out, 0, 2);
      for (const int threads : {1, 2, 3, 8}) {
        CpuDevice device(threads, isa);
        Cpu cpu = device.cpu();
        std::vector<bf16> y_here(rows * out), d_x_here(rows * in);
        forward_of(cpu, rows, s.packed, x.data(), in, y_here.data(), out);
        backward_of(cpu, rows, s.packed, d_y.data(), out, false, d_x_here.data(), in);
        if (threads == 1) y = y_here, d_x = d_x_here;
        INFO(name_of(isa) << " " << name_of_format(format) << ", threads " << threads);
        CHECK(same_bits(y, y_here));
        CHECK(same_bits(d_x, d_x_here));
      }
      std::vector<bf16> few(12 * out);
      forward_of(alone, 12, s.packed, x.data() + 50 * in, in, few.data(), out);
      CHECK(std::memcmp(few.data(), y.data() + 50 * out, few.size() * sizeof(bf16)) == 0);
      std::vector<bf16> eight(8 * out), single(out);
      forward_of(alone, 8, s.packed, x.data(), in, eight.data(), out);
      for (std::int64_t r = 0; r < 8; ++r) {
        forward_of(alone, 1, s.packed, x.data() + r * in, in, single.data(), out);
        CHECK(std::memcmp(single.data(), eight.data() + r * out, single.size() * sizeof(bf16)) == 0);
      }
    }
}

TEST_CASE("NaN and infinity reach their own row and no other", "[packed]") {
  for (const Isa isa : all_usable_isas())
    for (const PackedFormat format : formats)
      for (const std::int64_t rows : {3, 8, 20}) {
        CpuDevice device(2, isa);
        Cpu cpu = device.cpu();
        constexpr std::int64_t out = 33, in = 104;
        const Sample s = sample(cpu, format, out, in);
        Operand<bf16> x(rows, in, 0, 1), y(rows, out, 0, 2), d_y(rows, out, 0, 3), d_x(rows, in, 0, 4);
        x.data()[1 * in + in - 1] = std::numeric_limits<float>::quiet_NaN();
        d_y.data()[2 * out + out - 1] = std::numeric_limits<float>::infinity();
        forward_of(cpu, rows, s.packed, x.data(), in, y.data(), out);
        backward_of(cpu, rows, s.packed, d_y.data(), out, false, d_x.data(), in);
        bool exact = true;
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t i = 0; i < out; ++i) exact = exact && std::isnan(float(y.data()[r * out + i])) == (r == 1);
          for (std::int64_t i = 0; i < in; ++i) {
            const float w = s.dense[index((out - 1) * in + i)];
            exact = exact && (r != 2 || w == 0 || !std::isfinite(float(d_x.data()[r * in + i])));
            exact = exact && (r == 2 || std::isfinite(float(d_x.data()[r * in + i])));
          }
        }
        INFO(name_of(isa) << " " << name_of_format(format) << " " << rows);
        CHECK(exact);
      }
}

TEST_CASE("dense products of bf16 in pairs: every orientation, deep sums", "[packed]") {
  for (const Isa isa : {Isa::Avx512Bf16, Isa::AmxBf16, Isa::AmxEmulated}) {
    if (!supports(cpu_features(), isa)) continue;
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    struct Sizes {
      std::int64_t m, n, k;
    };
    // Of the last four two fit one panel of all their k, and the sums of two wait for the next part of it.
    for (const Sizes& d : {Sizes{1, 1, 1},
                           {3, 70, 65},
                           {33, 17, 300},
                           {70, 40, 31},
                           {5, 12, 700},
                           {40, 12, 6500},
                           {10, 260, 2048},
                           {33, 300, 2100},
                           {40, 33, 9000}})
      for (const bool ta : {false, true})
        for (const bool tb : {false, true}) {
          if (isa == Isa::AmxEmulated && d.k > 2000 && (ta || tb)) continue;  // it is slow
          INFO(name_of(isa) << " " << d.m << " x " << d.n << " x " << d.k << " " << ta << tb);
          const std::int64_t lda = (ta ? d.m : d.k) + 1, ldb = (tb ? d.k : d.n) + 3, ldc = d.n + 2;
          const auto a = random_values<bf16>(lda * (ta ? d.k : d.m), 1),
                     b = random_values<bf16>(ldb * (tb ? d.n : d.k), 2);
          const auto before = random_values<bf16>(ldc * d.m, 3);
          auto c = before;
          gemm(cpu, ta ? Trans::yes : Trans::no, tb ? Trans::yes : Trans::no, d.m, d.n, d.k, 0.5f, a.data(), lda,
               b.data(), ldb, 0.25f, c.data(), ldc);
          std::vector<bf16> x(index(d.m * d.k));
          std::vector<float> w(index(d.n * d.k));
          for (std::int64_t p = 0; p < d.k; ++p) {
            for (std::int64_t i = 0; i < d.m; ++i) x[index(i * d.k + p)] = a[index(ta ? p * lda + i : i * lda + p)];
            for (std::int64_t j = 0; j < d.n; ++j)
              w[index(j * d.k + p)] = 0.5f * float(b[index(tb ? j * ldb + p : p * ldb + j)]);
          }
          auto old = before;
          for (bf16& o : old) o = bf16(0.25f * float(o));  // exact
          CHECK(worst_error<bf16>(c.data(), ldc, d.m, d.n, d.k, x.data(), d.k, w, false, old.data()) <= 1);
        }
  }
}

TEST_CASE("every case that is measured is right", "[packed]") {
  CpuDevice device(2);
  Cpu cpu = device.cpu();
  for (const PackedCase& c : packed_cases()) {
    INFO(c.name());
    const Sample s = sample(cpu, c.format, c.out, c.in);
    const std::int64_t k = c.backward ? c.out : c.in, n = c.backward ? c.in : c.out;
    Operand<bf16> x(c.rows, k, 0, 1), y(c.rows, n, 0, 2);
    if (c.backward)
      backward_of(cpu, c.rows, s.packed, x.data(), k, false, y.data(), n);
    else
      forward_of(cpu, c.rows, s.packed, x.data(), k, y.data(), n);
    double worst = 0;
    for (std::int64_t i = 0; i < c.rows * n; i += c.rows * n / 97) {  // some columns of some rows
      std::vector<float> column(index(k));
      for (std::int64_t p = 0; p < k; ++p) {
        const float w = s.dense[index(c.backward ? p * n + i % n : i % n * k + p)];
        column[index(p)] = c.rows <= gemv_rows ? w : float(bf16(w));
      }
      const auto more = [&](std::int64_t, std::int64_t) {
        return in_whole_numbers(cpu.isa, s.packed, c.rows)
                   ? whole_number_bound(s.packed, i % n, x.data() + i / n * k, column.data())
                   : 0.0;
      };
      worst = std::max(
          worst, worst_error<bf16>(y.data() + i, n, 1, 1, k, x.data() + i / n * k, k, column, false, nullptr, more));
    }
    CHECK(worst <= 1);
  }
}

}  // namespace packed_bf16_test
