#include "expert/cpu/gemm.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "expert/cpu/instances.hpp"
#include "usable_isas.hpp"

namespace gemm_test {
using namespace expert;

namespace {

// Uniform in [-1, 1); a linear congruential generator, because the library's own would be most of the running time.
template <class T>
std::vector<T> random_values(std::int64_t n, std::uint64_t seed) {
  std::vector<T> v(static_cast<std::size_t>(n));
  for (T& x : v) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    x = T(static_cast<float>(seed >> 40) * 0x1p-23f - 1.0f);
  }
  return v;
}

// Row i of the (rows, k) result is row i of v, or column i.
template <class T>
std::vector<double> widened(const std::vector<T>& v, bool by_column, std::int64_t rows, std::int64_t k,
                            std::int64_t ld) {
  std::vector<double> wide;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t p = 0; p < k; ++p)
      wide.push_back(static_cast<float>(v[static_cast<std::size_t>(by_column ? p * ld + i : i * ld + p)]));
  return wide;
}

template <class T>
constexpr float unit = 0x1p-24f;  // half a unit in the last place
template <>
constexpr float unit<bf16> = 0x1p-8f;

struct Shape {
  Trans ta, tb;
  std::int64_t m, n, k, pad;
  float alpha, beta;
};

// The worst error of any element in units of its own bound (k + 4) 2^-24 sum |a b| + one rounding to TC; padding must
// stay.
template <class TA, class TB, class TC>
double worst_error(Cpu cpu, const Shape& s) {
  const std::int64_t lda = (s.ta == Trans::yes ? s.m : s.k) + s.pad, ldb = (s.tb == Trans::yes ? s.k : s.n) + 2 * s.pad,
                     ldc = s.n + 3 * s.pad;
  const auto a = random_values<TA>(lda * (s.ta == Trans::yes ? s.k : s.m) + 1, 1);
  const auto b = random_values<TB>(ldb * (s.tb == Trans::yes ? s.n : s.k) + 1, 2);
  const auto before = random_values<TC>(ldc * s.m + 1, 3);
  auto c = before;
  if (s.beta == 0)
    for (std::int64_t i = 0; i < s.m; ++i)
      for (std::int64_t j = 0; j < s.n; ++j)
        c[static_cast<std::size_t>(i * ldc + j)] = TC(std::numeric_limits<float>::quiet_NaN());
  gemm(cpu, s.ta, s.tb, s.m, s.n, s.k, s.alpha, a.data(), lda, b.data(), ldb, s.beta, c.data(), ldc);
  const auto left = widened(a, s.ta == Trans::yes, s.m, s.k, lda), right = widened(b, s.tb == Trans::no, s.n, s.k, ldb);
  double worst = 0;
  for (std::int64_t i = 0; i < s.m; ++i)
    for (std::int64_t j = 0; j < ldc; ++j) {
      const auto at = static_cast<std::size_t>(i * ldc + j);
      if (j >= s.n) {
        if (std::memcmp(&c[at], &before[at], sizeof(TC)) != 0) return std::numeric_limits<double>::infinity();
        continue;
      }
      // The reference is slow: of a large output every 13th element, every fourth one of the last rows and columns.
      if (s.m * s.n * s.k > 1'000'000 && (i * s.n + j) % (i + 16 > s.m || j + 34 > s.n ? 4 : 13) != 0) continue;
      double sum = 0, magnitude = 0;
      const double *x = &left[static_cast<std::size_t>(i * s.k)], *y = &right[static_cast<std::size_t>(j * s.k)];
      for (std::int64_t p = 0; p < s.k; ++p) sum += x[p] * y[p], magnitude += std::abs(x[p] * y[p]);
      const double old = s.beta == 0 ? 0 : double{s.beta} * static_cast<float>(before[at]);
      const double expected = s.alpha * sum + old, got = static_cast<float>(c[at]);
      const double bound = static_cast<double>(s.k + 4) * 0x1p-24 * (std::abs(s.alpha) * magnitude + std::abs(old)) +
                           1.01 * unit<TC> * std::abs(expected) + 1e-30;
      const double error = std::abs(got - expected) / bound;
      if (!(error <= worst)) worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
    }
  return worst;
}

template <class TA, class TB, class TC>
void check_shapes(Cpu cpu, const std::vector<Shape>& shapes) {
  for (const Shape& s : shapes) {
    const double error = worst_error<TA, TB, TC>(cpu, s);
    if (error > 1)
      FAIL("error " << error << " at " << s.m << " x " << s.n << " x " << s.k << ", transposed " << (s.ta == Trans::yes)
                    << (s.tb == Trans::yes) << ", pad " << s.pad << ", alpha " << s.alpha << ", beta " << s.beta);
  }
  SUCCEED();
}

constexpr Trans no = Trans::no, yes = Trans::yes;

std::vector<Shape> grid() {
  std::vector<Shape> shapes;
  const std::int64_t sizes[] = {1, 2, 3, 5, 7, 8, 12, 13, 14, 15, 16, 17, 31, 32, 33, 47, 65};
  std::int64_t i = 0;
  for (const std::int64_t m : sizes)
    for (const std::int64_t n : sizes)
      for (const std::int64_t k : {1, 4, 12, 15, 16, 17, 33, 257}) {
        if ((++i * 7) % 31 > 2 && m * n * k > 64) continue;  // all tiny shapes and a spread of the others
        shapes.push_back({i % 2 == 0 ? no : yes, i % 3 == 0 ? no : yes, m, n, k, i % 4, i % 5 == 0 ? -0.5f : 1.0f,
                          i % 7 < 3 ? 0.0f : (i % 7 < 5 ? 1.0f : 0.25f)});
      }
  return shapes;
}

std::vector<Shape>
blocks() {  // more than one block of k, one tile of rows, one tile of columns; LoRA's and decoding's shapes
  std::vector<Shape> shapes;
  for (const Trans ta : {no, yes})
    for (const Trans tb : {no, yes}) {
      shapes.push_back({ta, tb, 517, 70, 300, 0, 1, 0});
      shapes.push_back({ta, tb, 30, 700, 530, 1, 1, 1});
      shapes.push_back({ta, tb, 1, 1030, 640, 0, 1, 0});
      shapes.push_back({ta, tb, 8, 515, 1100, 0, 0.5f, 0});
      shapes.push_back({ta, tb, 300, 12, 520, 0, 1, 0});
      shapes.push_back({ta, tb, 300, 130, 12, 3, 2, 1});
      shapes.push_back({ta, tb, 12, 96, 2000, 0, 1, 0.5f});
      shapes.push_back({ta, tb, 3, 5, 9000, 0, 1, 1});
    }
  return shapes;
}

}  // namespace

TEST_CASE("f32 products stay within the error bound of a sum, on each instruction set", "[gemm]") {
  for (const Isa isa : usable_isas()) {
    INFO(name_of(isa));
    CpuDevice device(2, isa);
    check_shapes<float, float, float>(device.cpu(), grid());
    check_shapes<float, float, float>(device.cpu(), blocks());
  }
}

TEST_CASE("every mixture of f32 and bf16 is rounded once", "[gemm]") {
  for (const Isa isa : usable_isas()) {
    INFO(name_of(isa));
    CpuDevice device(2, isa);
    const Cpu cpu = device.cpu();
    check_shapes<bf16, bf16, bf16>(cpu, grid());
    check_shapes<bf16, bf16, bf16>(cpu, blocks());
    check_shapes<bf16, bf16, float>(cpu, blocks());
    check_shapes<float, bf16, float>(cpu, blocks());
    check_shapes<bf16, float, float>(cpu, blocks());
    check_shapes<float, float, bf16>(cpu, blocks());
    check_shapes<float, bf16, bf16>(cpu, blocks());
    check_shapes<bf16, float, bf16>(cpu, blocks());
  }
}

TEST_CASE("a bf16 result is the f32 result, rounded, over several blocks of k", "[gemm]") {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    for (const std::int64_t k : {40, 1100}) {
      constexpr std::int64_t m = 37, n = 83;
      const auto a = random_values<bf16>(m * k, 1), b = random_values<bf16>(n * k, 2);
      std::vector<float> exact(m * n);
      std::vector<bf16> rounded(m * n);
      gemm(cpu, no, yes, m, n, k, 1.0f, a.data(), k, b.data(), k, 0.0f, exact.data(), n);
      gemm(cpu, no, yes, m, n, k, 1.0f, a.data(), k, b.data(), k, 0.0f, rounded.data(), n);
      bool same = true;
      for (std::size_t i = 0; i < exact.size(); ++i) same = same && bf16(exact[i]).bits == rounded[i].bits;
      CHECK(same);
    }
  }
}

TEST_CASE("an empty product leaves beta C, an empty output is left alone", "[gemm]") {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    std::vector<float> c{1, 2, 3, 4};
    gemm(cpu, no, no, 2, 2, 0, 1.0f, c.data(), 1, c.data(), 1, 0.5f, c.data(), 2);
    CHECK(c == std::vector<float>{0.5f, 1, 1.5f, 2});
    c[0] = std::numeric_limits<float>::quiet_NaN();
    gemm(cpu, no, no, 2, 2, 0, 1.0f, c.data(), 1, c.data(), 1, 0.0f, c.data(), 2);
    CHECK(c == std::vector<float>{0, 0, 0, 0});
    c = {1, 2, 3, 4};
    gemm<float, float, float>(cpu, no, no, 0, 2, 2, 1.0f, nullptr, 2, nullptr, 2, 0.0f, c.data(), 2);
    gemm<float, float, float>(cpu, no, no, 2, 0, 2, 1.0f, nullptr, 2, nullptr, 2, 0.0f, c.data(), 2);
    CHECK(c == std::vector<float>{1, 2, 3, 4});
  }
}

TEST_CASE("NaN and infinity in an operand reach exactly the elements that use them", "[gemm]") {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(1, isa);
    Cpu cpu = device.cpu();
    auto a = random_values<float>(20 * 40, 1), b = random_values<float>(40 * 37, 2);
    std::vector<float> c(20 * 37);
    a[7 * 40 + 39] = std::numeric_limits<float>::quiet_NaN();
    b[3 * 37 + 36] = std::numeric_limits<float>::infinity();
    gemm(cpu, no, no, 20, 37, 40, 1.0f, a.data(), 40, b.data(), 37, 0.0f, c.data(), 37);
    bool exact = true;
    for (std::size_t i = 0; i < 20; ++i)
      for (std::size_t j = 0; j < 37; ++j) exact = exact && std::isfinite(c[i * 37 + j]) == (i != 7 && j != 36);
    CHECK(exact);
  }
}

TEST_CASE("the bits do not depend on the number of threads", "[gemm]") {
  for (const Isa isa : usable_isas())
    for (const Trans ta : {no, yes}) {
      constexpr std::int64_t m = 530, n = 301, k = 600;
      const auto a = random_values<float>(m * k, 1);
      const auto b = random_values<bf16>(k * n, 2);
      std::vector<float> first;
      for (const int threads : {1, 2, 3, 8}) {
        CpuDevice device(threads, isa);
        Cpu cpu = device.cpu();
        std::vector<float> c(m * n, 0.5f);
        gemm(cpu, ta, yes, m, n, k, 0.7f, a.data(), ta == yes ? m : k, b.data(), k, 0.3f, c.data(), n);
        if (first.empty()) first = c;
        CHECK(std::memcmp(first.data(), c.data(), c.size() * sizeof(float)) == 0);
      }
    }
}

TEST_CASE("rows of bf16 that are packed once for all threads give the bits of a product on one", "[gemm]") {
  for (const Isa isa : usable_isas())
    for (const auto& [m, k] : {std::pair<std::int64_t, std::int64_t>{1009, 1600}, {70, 333}}) {  // two passes, one
      if (isa == Isa::AmxEmulated && m > 100) continue;                                          // too slow
      const std::int64_t n = 300, r = 12;
      const auto a = random_values<bf16>(m * k, 1), b = random_values<bf16>(n * k, 2),
                 left = random_values<bf16>(m * r, 3), right = random_values<bf16>(n * r, 4);
      const DenseSource<bf16> columns{b.data(), k, true};
      const AddedProduct<bf16> added{left.data(), r, {right.data(), r, true}, r, 0.25f};
      for (const Trans ta : {no, yes})
        for (const int threads : {1, 2, 8}) {
          CpuDevice device(threads, isa);
          Cpu cpu = device.cpu();
          if (!with_pair_kernels(isa, [](auto) noexcept {})) continue;
          std::vector<bf16> c(static_cast<std::size_t>(m * n), bf16(0.5f)), serial = c;
          const std::int64_t lda = ta == yes ? m : k;
          gemm(cpu, ta, m, n, k, 0.7f, a.data(), lda, columns, 0.5f, c.data(), n, added);
          gemm_serial(isa, cpu.gemm_workspace(0), ta, m, n, k, 0.7f, a.data(), lda, columns, 0.5f, serial.data(), n,
                      added);
          CHECK(std::memcmp(c.data(), serial.data(), c.size() * sizeof(bf16)) == 0);
        }
    }
}

TEST_CASE("a row has the same bits alone and in a batch, a column among few and among many", "[gemm]") {
  for (const Isa isa : usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    constexpr std::int64_t m = 45, n = 150, k = 700;
    const auto x = random_values<float>(m * k, 1);
    const auto w = random_values<bf16>(n * k, 2);
    std::vector<float> batch(m * n), alone(n);
    gemm(cpu, no, yes, m, n, k, 1.0f, x.data(), k, w.data(), k, 0.0f, batch.data(), n);
    bool same = true;
    for (std::int64_t i = 0; i < m; ++i) {
      gemm(cpu, no, yes, 1, n, k, 1.0f, x.data() + i * k, k, w.data(), k, 0.0f, alone.data(), n);
      same = same && std::memcmp(alone.data(), batch.data() + i * n, n * sizeof(float)) == 0;
    }
    CHECK(same);
    std::vector<float> few(m * 21);
    gemm(cpu, no, yes, m, 21, k, 1.0f, x.data(), k, w.data() + 66 * k, k, 0.0f, few.data(), 21);
    for (std::size_t i = 0; i < m; ++i)
      same = same && std::memcmp(&few[i * 21], &batch[i * n + 66], 21 * sizeof(float)) == 0;
    CHECK(same);
  }
}

TEST_CASE("a grid of tiles covers the output and fits the scratch", "[gemm]") {
  const auto covers = [](const GemmGrid& g, std::int64_t m, std::int64_t n) {
    return g.rows * g.tile_m >= m && (g.rows - 1) * g.tile_m < m && g.cols * g.tile_n >= n &&
           (g.cols - 1) * g.tile_n < n;
  };
  for (const std::int64_t m : {1, 7, 14, 100, 503, 504, 505, 5000})
    for (const std::int64_t n : {1, 12, 32, 33, 1000, 200000})
      for (const int threads : {1, 2, 3, 8, 64}) {
        const GemmGrid g = gemm_grid(m, n, threads, 14, 32);
        REQUIRE(covers(g, m, n));
        REQUIRE(covers(pair_grid(m, n, threads), m, n));
        const GemmGrid panels = pair_panel_grid(m, n, threads);
        REQUIRE((covers(panels, m, n) && panels.tile_n <= pair_panel_columns && panels.tile_m % 32 == 0));
        REQUIRE(
            (g.tile_m <= gemm_tile_rows && std::min(m, g.tile_m) * g.tile_n <= gemm_tile_floats && g.tile_n % 32 == 0));
      }
  CHECK(gemm_k_block * 32 + gemm_tile_rows * gemm_a_stride + gemm_tile_floats <= gemm_workspace_floats);
}

}  // namespace gemm_test
