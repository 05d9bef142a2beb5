// NF4, FP4, double quantisation, int8 rows and dynamic 8-bit codes against bitsandbytes.
#include "expert/ops/quantize.hpp"

#include "support.hpp"

namespace quantize_test {
using namespace parity;

namespace {

// The weights of the fixture: "w_33x70" and its like.
std::vector<std::string> weights_of(const SafetensorsFile& file) {
  std::vector<std::string> names;
  for (const TensorView& t : file.tensors())
    if (t.name.starts_with("w_") && t.name.find('.') == std::string::npos) names.push_back(t.name);
  REQUIRE_FALSE(names.empty());
  return names;
}
const std::pair<const char*, const FourBitCode*> four_bit_codes[] = {{"nf4", &nf4_code}, {"fp4", &fp4_code}};

struct Packed {
  std::vector<std::uint8_t> packed;
  std::vector<float> absmax;
};
std::size_t blocks_of(std::size_t n, std::int64_t block_size) {
  return (n + static_cast<std::size_t>(block_size) - 1) / static_cast<std::size_t>(block_size);
}
Packed quantised(const FourBitCode& code, const std::vector<float>& w, std::int64_t block_size) {
  Packed q{std::vector<std::uint8_t>((w.size() + 1) / 2), std::vector<float>(blocks_of(w.size(), block_size))};
  reference::quantize_4bit(code, w.data(), static_cast<std::int64_t>(w.size()), block_size, q.packed.data(),
                           q.absmax.data());
  return q;
}
std::vector<float> dequantised(const FourBitCode& code, const std::vector<std::uint8_t>& packed,
                               const BlockScales& scales, std::size_t n) {
  std::vector<float> out(n);
  reference::dequantize_4bit(code, packed.data(), scales, 64, 0, static_cast<std::int64_t>(n), out.data());
  return out;
}

struct DoubleQuantised {
  std::vector<std::uint8_t> codes;
  std::vector<float> nested;
  float offset = 0;
  explicit DoubleQuantised(const std::vector<float>& absmax)
      : codes(absmax.size()), nested(blocks_of(absmax.size(), nested_block_size)) {
    reference::quantize_scales(absmax.data(), static_cast<std::int64_t>(absmax.size()), codes.data(), nested.data(),
                               offset);
  }
};

// IEEE half and back: bitsandbytes' int8 fixtures were made from weights in f16.
float through_f16(float x) {
  if (std::abs(x) < 0x1p-14f) return std::nearbyint(x * 0x1p24f) * 0x1p-24f;
  int exponent = 0;
  const float fraction = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(fraction * 2048), exponent - 11);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("the code tables are those of bitsandbytes", "[parity][quantize]", parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_quant");
  if (!file) return;
  CHECK(max_abs_difference(nf4_code.values, floats(*file, "nf4.code")) == 0);
  CHECK(max_abs_difference(fp4_code.values, floats(*file, "fp4.code")) == 0);
  CHECK(max_abs_difference(dynamic_code, floats(*file, "dyn8.code")) == 0);
  CHECK(max_abs_difference(dynamic_code, floats(*file, "dq.state2_code")) == 0);
}

TEMPLATE_LIST_TEST_CASE("4-bit codes, scales and values equal bitsandbytes' in blocks that straddle rows",
                        "[parity][quantize]", parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_quant");
  if (!file) return;
  for (const std::string& w : weights_of(*file)) {
    const std::vector<float> weights = floats(*file, w);
    for (const auto& [name, code] : four_bit_codes)
      for (const std::int64_t block_size : {64, 128}) {
        const std::string key = w + "." + name + ".b" + std::to_string(block_size);
        INFO(key);
        const Packed q = quantised(*code, weights, block_size);
        CHECK(q.packed == values<std::uint8_t>(*file, key + ".packed"));
        CHECK(q.absmax == floats(*file, key + ".absmax"));
        if (block_size != 64) continue;
        BlockScales scales;
        scales.absmax = q.absmax.data();
        CHECK(max_abs_difference(dequantised(*code, q.packed, scales, weights.size()),
                                 floats(*file, key + ".dequant")) == 0);
      }
  }
}

TEMPLATE_LIST_TEST_CASE("double quantisation equals bitsandbytes' codes and values", "[parity][quantize]",
                        parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_quant");
  if (!file) return;
  for (const std::string& w : weights_of(*file))
    for (const auto& [name, code] : four_bit_codes) {
      const std::string key = w + "." + name + ".dq";
      INFO(key);
      const std::vector<float> absmax = floats(*file, w + "." + name + ".b64.absmax");
      const DoubleQuantised q(absmax);
      const float their_offset = scalar(*file, key + ".offset");
      CHECK(q.codes == values<std::uint8_t>(*file, key + ".absmax_q"));
      CHECK(std::abs(double{q.offset} / double{their_offset} - 1) < scales_of_scales);
      const std::vector<float> their_nested = floats(*file, key + ".state2_absmax");
      // The largest |absmax - mean|: a last bit of the mean moves it by that much of the scales, however small the
      // difference is.
      check_close(key + ".state2_absmax", q.nested, their_nested, scales_of_scales * max_abs(absmax));
      const BlockScales scales{nullptr, q.codes.data(), their_nested.data(), their_offset};
      const std::vector<float> expected = floats(*file, key + ".dequant");
      const auto packed = values<std::uint8_t>(*file, key + ".packed");
      CHECK(max_abs_difference(dequantised(*code, packed, scales, expected.size()), expected) == 0);
    }
}

TEMPLATE_LIST_TEST_CASE("the base of the NF4 run is dequantised to the values that bitsandbytes trains on",
                        "[parity][quantize]", parity_sets::ParitySets) {
  using Set = TestType;
  const auto expected = fixture<Set>("ref_nf4_dq_base"), model = fixture<Set>("model/model");
  if (!expected || !model) return;
  int compared = 0;
  for (const TensorView& t : expected->tensors()) {
    if (!t.name.starts_with("dequant.")) continue;
    const std::vector<float> weights = floats(*model, t.name.substr(8) + ".weight");
    const Packed packed = quantised(nf4_code, weights, 64);
    const DoubleQuantised q(packed.absmax);
    const BlockScales scales{nullptr, q.codes.data(), q.nested.data(), q.offset};
    // Only the last bit of the mean may differ.
    check_close(t.name, dequantised(nf4_code, packed.packed, scales, weights.size()), t.to_f32(),
                scales_of_scales * max_abs(weights));
    ++compared;
  }
  CHECK(compared > 0);
}

TEMPLATE_LIST_TEST_CASE("a product with dequantised NF4 equals torch's", "[parity][quantize]",
                        parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_quant");
  if (!file) return;
  int compared = 0;
  for (const TensorView& t : file->tensors()) {
    const std::string end = ".nf4.b64)^T";
    if (!t.name.starts_with("x@dequant(") || !t.name.ends_with(end)) continue;
    const std::string w = t.name.substr(10, t.name.size() - 10 - end.size());
    const std::vector<std::int64_t> shape = tensor(*file, w).shape;
    const std::int64_t rows = t.shape[0], out = shape[0], in = shape[1];
    const std::vector<float> x = floats(*file, "x_" + std::to_string(rows) + "x" + std::to_string(in));
    const Packed q = quantised(nf4_code, floats(*file, w), 64);
    BlockScales scales;
    scales.absmax = q.absmax.data();
    const std::vector<float> weights = dequantised(nf4_code, q.packed, scales, static_cast<std::size_t>(out * in));
    std::vector<float> y(static_cast<std::size_t>(rows * out));
    reference::linear_forward(rows, out, in, x.data(), weights.data(), y.data());
    check_close(t.name, y, t.to_f32(), 0, f32_op);
    ++compared;
  }
  CHECK(compared > 0);
}

TEMPLATE_LIST_TEST_CASE("int8 rows equal bitsandbytes' vector-wise codes", "[parity][quantize]",
                        parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_quant");
  if (!file) return;
  for (const std::string& w : weights_of(*file)) {
    INFO(w);
    std::vector<float> weights = floats(*file, w);
    for (float& x : weights) x = through_f16(x);
    const std::vector<std::int64_t> shape = tensor(*file, w).shape;
    std::vector<std::int8_t> codes(weights.size());
    std::vector<float> absmax(static_cast<std::size_t>(shape[0])), back(weights.size());
    for (std::int64_t r = 0; r < shape[0]; ++r) {
      float& row_absmax = absmax[static_cast<std::size_t>(r)];
      reference::quantize_int8_row(weights.data() + r * shape[1], shape[1], codes.data() + r * shape[1], row_absmax);
      reference::dequantize_int8_row(codes.data() + r * shape[1], row_absmax, shape[1], back.data() + r * shape[1]);
    }
    CHECK(codes == values<std::int8_t>(*file, w + ".int8.codes"));
    CHECK(absmax == floats(*file, w + ".int8.row_absmax"));
    for (std::size_t i = 0; i < weights.size(); ++i)
      REQUIRE(std::abs(back[i] - weights[i]) <= absmax[i / static_cast<std::size_t>(shape[1])] * (0.5001f / 127));
  }
}

TEMPLATE_LIST_TEST_CASE("dynamic 8-bit codes equal bitsandbytes', zeros included", "[parity][quantize]",
                        parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_quant");
  if (!file) return;
  for (const std::string& w : weights_of(*file)) {
    INFO(w);
    const std::vector<float> weights = floats(*file, w);
    std::vector<std::uint8_t> codes(weights.size());
    std::vector<float> absmax(blocks_of(weights.size(), 256)), back(weights.size());
    const auto n = static_cast<std::int64_t>(weights.size());
    reference::quantize_dynamic8(weights.data(), n, 256, codes.data(), absmax.data());
    CHECK(codes == values<std::uint8_t>(*file, w + ".dyn8.codes"));
    CHECK(absmax == floats(*file, w + ".dyn8.absmax"));
    reference::dequantize_dynamic8(codes.data(), absmax.data(), 256, 0, n, back.data());
    for (std::size_t i = 0; i < weights.size(); ++i)  // half the widest step, and half a cell
      REQUIRE(std::abs(back[i] - weights[i]) <= absmax[i / 256] * (0.5f * 0.0141f + 1.0f / 65535));
  }
}

}  // namespace quantize_test
