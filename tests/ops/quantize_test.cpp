#include "expert/ops/quantize.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "expert/core/dtype.hpp"
#include "expert/core/random.hpp"
#include "expert/core/threads.hpp"

namespace quantize_test {
using namespace expert;

namespace {

struct Packed {
  std::vector<std::uint8_t> packed;
  std::vector<float> absmax;
};
std::size_t blocks_of(std::size_t n, std::int64_t block_size) {
  return (n + static_cast<std::size_t>(block_size) - 1) / static_cast<std::size_t>(block_size);
}
template <class T>
Packed quantised(const FourBitCode& code, const std::vector<T>& w, std::int64_t block_size) {
  Packed q{std::vector<std::uint8_t>((w.size() + 1) / 2), std::vector<float>(blocks_of(w.size(), block_size))};
  reference::quantize_4bit(code, w.data(), static_cast<std::int64_t>(w.size()), block_size, q.packed.data(),
                           q.absmax.data());
  return q;
}
std::vector<float> dequantised(const FourBitCode& code, const std::vector<std::uint8_t>& packed,
                               const BlockScales& scales, std::int64_t block_size, std::size_t n) {
  std::vector<float> out(n);
  reference::dequantize_4bit(code, packed.data(), scales, block_size, 0, static_cast<std::int64_t>(n), out.data());
  return out;
}
BlockScales plain(const Packed& q) {
  BlockScales scales;
  scales.absmax = q.absmax.data();
  return scales;
}

constexpr float largest = std::numeric_limits<float>::max();

}  // namespace

TEST_CASE("a random block comes back to within half of the step around each weight", "[quantize]") {
  const RandomStream random(11, Purpose::init_lora_a);
  for (const FourBitCode* code : {&nf4_code, &fp4_code}) {
    float widest = 0;
    for (std::size_t i = 0; i < 15; ++i)
      widest = std::max(widest, code->values[code->order[i + 1]] - code->values[code->order[i]]);
    std::uint64_t draw = 0;
    for (int trial = 0; trial < 300; ++trial) {
      const std::size_t n = 1 + random.bits(draw++) % 200;
      const float magnitude = std::ldexp(1.0f, static_cast<int>(random.bits(draw++) % 240) - 120);
      std::vector<float> w(n);
      for (float& x : w) x = static_cast<float>(random.normal(draw++ + 100000)) * magnitude;
      const Packed q = quantised(*code, w, 64);
      const auto back = dequantised(*code, q.packed, plain(q), 64, n);
      for (std::size_t i = 0; i < n; ++i)
        REQUIRE(std::abs(double{back[i]} - double{w[i]}) <= 0.500001 * double{widest} * double{q.absmax[i / 64]});
    }
  }
}

TEST_CASE("zero, denormal, largest, outlier and negative zero blocks give finite values", "[quantize]") {
  struct Case {
    const char* what;
    std::vector<float> w;
    bool denormal;
  };
  std::vector<float> outlier(64, 1e-3f);
  outlier[17] = -1e4f;
  const float tiny = std::numeric_limits<float>::denorm_min();
  const std::vector<Case> cases = {{"zeros", std::vector<float>(64, 0.0f), false},
                                   {"negative zeros", std::vector<float>(64, -0.0f), false},
                                   {"one denormal", {tiny, 0, -tiny}, true},
                                   {"denormals", {1e-40f, -5e-41f, 3e-41f, 0}, true},
                                   {"the smallest normals", {1.2e-38f, -1.2e-38f, 6e-39f}, true},
                                   {"largest", {largest, -largest, largest / 2, 0, 1}, false},
                                   {"one outlier", outlier, false},
                                   {"a single weight", {0.3f}, false}};
  const auto run = [&](const Case& c, bool exact) {
    INFO(c.what << (exact ? "" : ", denormals flushed"));
    const std::size_t n = c.w.size();
    const auto count = static_cast<std::int64_t>(n);
    for (const FourBitCode* code : {&nf4_code, &fp4_code}) {
      const Packed q = quantised(*code, c.w, 64);
      const auto back = dequantised(*code, q.packed, plain(q), 64, n);
      for (std::size_t i = 0; i < n; ++i) {
        REQUIRE(std::isfinite(back[i]));
        if (exact) REQUIRE(std::abs(double{back[i]} - double{c.w[i]}) <= 0.17 * double{q.absmax[0]} + double{tiny});
      }
    }
    std::vector<std::int8_t> int8(n);
    std::vector<std::uint8_t> dynamic(n);
    std::vector<float> back(n);
    float absmax = 0;
    reference::quantize_int8_row(c.w.data(), count, int8.data(), absmax);
    reference::dequantize_int8_row(int8.data(), absmax, count, back.data());
    for (std::size_t i = 0; i < n; ++i) {
      REQUIRE(std::isfinite(back[i]));
      if (exact) REQUIRE(std::abs(double{back[i]} - double{c.w[i]}) <= 0.00394 * double{absmax} + double{tiny});
    }
    reference::quantize_dynamic8(c.w.data(), count, 256, dynamic.data(), &absmax);
    reference::dequantize_dynamic8(dynamic.data(), &absmax, 256, 0, count, back.data());
    for (std::size_t i = 0; i < n; ++i) {
      REQUIRE(std::isfinite(back[i]));
      if (exact) REQUIRE(std::abs(double{back[i]} - double{c.w[i]}) <= 0.0071 * double{absmax} + double{tiny});
    }
  };
  for (const Case& c : cases) run(c, true);
  const FlushDenormals flush;
  for (const Case& c : cases) run(c, !c.denormal);
}

TEST_CASE("a zero block is all zero codes, and an odd end is padded with one", "[quantize]") {
  const Packed q = quantised(nf4_code, std::vector<float>{0, 0, -0.0f, 0, 0}, 64);
  CHECK(q.packed == std::vector<std::uint8_t>{0x77, 0x77, 0x77});
  CHECK(q.absmax == std::vector<float>{0});
  CHECK(quantised(nf4_code, std::vector<float>{1, -1, 1}, 64).packed == std::vector<std::uint8_t>{0xf0, 0xf7});
  const BlockScales scales = plain(q);
  for (const float x : dequantised(nf4_code, q.packed, scales, 64, 5)) CHECK(std::bit_cast<std::uint32_t>(x) == 0);
}

TEST_CASE("weights that are not finite get codes in range all the same", "[quantize]") {
  const float infinite = std::numeric_limits<float>::infinity(), not_a_number = std::numeric_limits<float>::quiet_NaN();
  for (const std::vector<float>& w : {std::vector<float>{not_a_number, 1}, std::vector<float>{infinite, 1, -infinite},
                                      std::vector<float>(5, not_a_number)}) {
    const auto n = static_cast<std::int64_t>(w.size());
    std::vector<std::int8_t> int8(w.size());
    std::vector<std::uint8_t> dynamic(w.size());
    float absmax = 0;
    quantised(nf4_code, w, 64);
    quantised(fp4_code, w, 64);
    reference::quantize_dynamic8(w.data(), n, 256, dynamic.data(), &absmax);
    reference::quantize_int8_row(w.data(), n, int8.data(), absmax);
    for (const std::int8_t code : int8) CHECK(code >= -127);
  }
}

TEST_CASE("any range of a tensor dequantises to the same values as the whole", "[quantize]") {
  const RandomStream random(5, Purpose::init_lora_a);
  std::vector<float> w(33 * 7);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(random.normal(i));
  const Packed q = quantised(nf4_code, w, 64);
  const auto whole = dequantised(nf4_code, q.packed, plain(q), 64, w.size());
  for (std::int64_t first = 0; first < 231; first += 13)
    for (const std::int64_t count : {0, 1, 2, 64, 65, 100}) {
      if (first + count > 231) continue;
      std::vector<float> part(static_cast<std::size_t>(count));
      reference::dequantize_4bit(nf4_code, q.packed.data(), plain(q), 64, first, count, part.data());
      REQUIRE(std::equal(part.begin(), part.end(), whole.begin() + first));
    }
  std::vector<bf16> rounded(w.size());
  reference::dequantize_4bit(nf4_code, q.packed.data(), plain(q), 64, 0, 231, rounded.data());
  for (std::size_t i = 0; i < w.size(); ++i) REQUIRE(rounded[i].bits == bf16(whole[i]).bits);
}

TEST_CASE("bf16 weights are quantised as their f32 values", "[quantize]") {
  const RandomStream random(12, Purpose::init_lora_a);
  std::vector<bf16> narrow(33 * 70);
  for (std::size_t i = 0; i < narrow.size(); ++i) narrow[i] = static_cast<float>(random.normal(i));
  const std::vector<float> wide(narrow.begin(), narrow.end());
  const Packed a = quantised(nf4_code, narrow, 64), b = quantised(nf4_code, wide, 64);
  CHECK(a.packed == b.packed);
  CHECK(a.absmax == b.absmax);
}

TEST_CASE("an affine group has its ends exactly and the rest within half a step", "[quantize]") {
  const RandomStream random(5, Purpose::init_lora_a);
  std::uint64_t draw = 0;
  for (int trial = 0; trial < 500; ++trial) {
    const auto n = static_cast<std::int64_t>(1 + random.bits(draw++) % 300);
    const float magnitude = std::ldexp(1.0f, static_cast<int>(random.bits(draw++) % 200) - 100);
    const float offset = trial % 3 == 0 ? 0.0f : static_cast<float>(random.normal(draw++)) * 4;
    std::vector<float> w(static_cast<std::size_t>(n));
    for (float& x : w) x = (static_cast<float>(random.normal(draw++)) + offset) * magnitude;
    std::vector<std::uint8_t> codes(w.size());
    float scale, zero;
    reference::quantize_affine_group(w.data(), n, codes.data(), scale, zero);
    const float low = *std::min_element(w.begin(), w.end()), high = *std::max_element(w.begin(), w.end());
    const float step = (high - low) / 15, rounding = 1e-6f * std::max(std::abs(low), std::abs(high));
    for (std::size_t i = 0; i < w.size(); ++i) {
      REQUIRE(codes[i] <= 15);
      const float value = (static_cast<float>(codes[i]) - zero) * scale;
      REQUIRE(std::abs(value - w[i]) <= (w[i] == low || w[i] == high ? 0 : step / 2 * 1.0001f) + rounding);
    }
  }
}

TEST_CASE("affine groups that are constant, denormal, largest or not finite", "[quantize]") {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const auto back = [](const std::vector<float>& w) {
    std::vector<std::uint8_t> codes(w.size());
    float scale, zero;
    reference::quantize_affine_group(w.data(), static_cast<std::int64_t>(w.size()), codes.data(), scale, zero);
    std::vector<float> values;
    for (const std::uint8_t q : codes) {
      REQUIRE(q <= 15);
      values.push_back((static_cast<float>(q) - zero) * scale);
    }
    return values;
  };
  for (const float x : {0.0f, 1.5f, -3.25f, largest, -largest, std::numeric_limits<float>::denorm_min()})
    CHECK(back(std::vector<float>(7, x)) == std::vector<float>(7, x));
  for (const float x : back({0.0f, 1e-38f, -1e-38f})) CHECK(std::abs(x) <= 3e-38f);
  for (const std::vector<float>& w : {std::vector<float>{-largest, largest, 0}, {0, largest}, {-largest, 1}}) {
    const std::vector<float> values = back(w);
    for (std::size_t i = 0; i < w.size(); ++i) {
      CHECK(std::isfinite(values[i]));
      CHECK(values[i] == Approx(w[i]).epsilon(1e-6).margin(largest / 14));
    }
  }
  back({nan, 1, infinity, -infinity});
  back({1, nan});
}

}  // namespace quantize_test
