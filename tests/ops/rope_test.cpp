#include "expert/ops/rope.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "differences.hpp"
#include "expert/core/random.hpp"
#include "expert/ops/qk_norm_rope.hpp"
#include "expert/policy/rope.hpp"

namespace rope_test {
using namespace expert;

namespace {

template <class Policy>
std::vector<float> inverse_frequencies(std::int64_t head_dim, std::int64_t max_position_embeddings,
                                       std::int64_t context_length, float& scaling) {
  std::vector<float> out(static_cast<std::size_t>(head_dim / 2));
  scaling = Policy::inv_freq(out, 1e6, head_dim, max_position_embeddings, context_length);
  return out;
}

}  // namespace

TEST_CASE("RopeNtkByParts equals plain RoPE bit for bit up to max_position_embeddings", "[rope]") {
  using Ntk = RopeNtkByParts<8192, 32768>;
  float scaling = 0;
  const auto plain = inverse_frequencies<RopeDefault>(128, 40960, 1, scaling);
  for (const std::int64_t length : {1, 2048, 8193, 32767, 32768})
    CHECK(inverse_frequencies<Ntk>(128, 40960, length, scaling) == plain);
  CHECK(inverse_frequencies<Ntk>(128, 40960, 32769, scaling) != plain);
  CHECK(Ntk::longest_context(40960) == 65536);
  // Not fine-grained: the longest context's base, whatever the length.
  using Coarse = RopeNtkByParts<8192, 32768, 8, false>;
  CHECK(inverse_frequencies<Coarse>(128, 40960, 10, scaling) == inverse_frequencies<Ntk>(128, 40960, 65536, scaling));
}

TEST_CASE("RoPE policies state what the manifest says", "[rope]") {
  constexpr auto fields = RopeNtkByParts<8192, 32768>::describe();
  const auto value_at = [&](std::string_view key) {
    for (const Field& f : fields)
      if (f.pointer == "/base_models/0/rope_scaling/" + std::string(key)) return f.value;
    FAIL("not described: " << key);
    return Value{};
  };
  CHECK(value_at("type").text == "ntk-by-parts");
  CHECK(value_at("factor").number == 8.0);
  CHECK(value_at("max_position_embeddings").integer == 32768);
  CHECK(value_at("original_max_position_embeddings").integer == 8192);
  CHECK(value_at("fine_grained").boolean);
  static_assert(RopeYarn<Ratio{5, 2}, 8192>::factor == 2.5 && RopeYarn<Ratio{5, 2}, 8192>::longest_context(0) == 20480);
  static_assert(RopeYarn<4, 8192, 1>::describe().size() == RopeYarn<4, 8192>::describe().size() + 1);
}

TEST_CASE("rope_backward undoes rope_forward, in place too, and is its transpose", "[rope]") {
  const std::int64_t tokens = 5, heads = 3, head_dim = 6;
  const RandomStream random(7, Purpose::init_lora_a);
  std::vector<float> x(90), g(90), cos(15), sin(15);
  for (std::size_t i = 0; i < 90; ++i) x[i] = random.uniform(i) - 0.5f, g[i] = random.uniform(1000 + i) - 0.5f;
  const std::vector<std::int32_t> positions = {0, 3, 1000, 65535, 9};
  const std::vector<float> inv_freq = {1.0f, 0.01f, 0.0001f};
  reference::rope_tables<float>(positions, inv_freq, 1.0f, cos.data(), sin.data());
  std::vector<float> y = x, d = g;
  reference::rope_forward(tokens, heads, head_dim, y.data(), cos.data(), sin.data(), y.data());
  reference::rope_backward(tokens, heads, head_dim, d.data(), cos.data(), sin.data(), d.data());
  double forward = 0, backward = 0;
  for (std::size_t i = 0; i < 90; ++i) forward += double{y[i]} * double{g[i]}, backward += double{x[i]} * double{d[i]};
  CHECK(std::abs(forward - backward) < 1e-5);
  CHECK(max_abs_difference(y, x) > 0.1);
  reference::rope_backward(tokens, heads, head_dim, y.data(), cos.data(), sin.data(), y.data());
  CHECK(max_abs_difference(y, x) < 1e-6);
}

TEST_CASE("in bf16 tables, products and sums are rounded one by one", "[rope]") {
  const std::vector<std::int32_t> positions = {3};
  const std::vector<float> inv_freq = {0.3f};
  float cos = 0, sin = 0;
  reference::rope_tables<bf16>(positions, inv_freq, 1.0f, &cos, &sin);
  CHECK(cos == float(bf16(std::cos(3 * 0.3f))));
  CHECK(sin == float(bf16(std::sin(3 * 0.3f))));
  const bf16 x[2] = {1.703125f, -0.8984375f};
  bf16 out[2], back[2];
  reference::rope_forward(1, 1, 2, x, &cos, &sin, out);
  CHECK(out[0].bits == bf16(float(bf16(float(x[0]) * cos)) - float(bf16(float(x[1]) * sin))).bits);
  CHECK(out[1].bits == bf16(float(bf16(float(x[1]) * cos)) + float(bf16(float(x[0]) * sin))).bits);
  reference::rope_backward(1, 1, 2, x, &cos, &sin, back);
  CHECK(back[0].bits == bf16(float(bf16(float(x[0]) * cos)) + float(bf16(float(x[1]) * sin))).bits);
  CHECK(back[1].bits == bf16(float(bf16(float(x[1]) * cos)) - float(bf16(float(x[0]) * sin))).bits);
}

TEST_CASE("the fused norm and rotation equals rope_forward after a norm", "[rope]") {
  const std::int64_t tokens = 4, heads = 2, head_dim = 8;
  const RandomStream random(8, Purpose::init_lora_a);
  std::vector<bf16> x(64), weight(8), fused(64), normed(64), rotated(64);
  for (std::size_t i = 0; i < 64; ++i) x[i] = random.uniform(i) - 0.5f;
  for (std::size_t i = 0; i < 8; ++i) weight[i] = 0.5f + random.uniform(500 + i);
  const std::vector<std::int32_t> positions = {0, 1, 2, 3};
  const std::vector<float> inv_freq = {1.0f, 0.1f, 0.01f, 0.001f};
  std::vector<float> cos(16), sin(16), rstd(8);
  reference::rope_tables<bf16>(positions, inv_freq, 1.0f, cos.data(), sin.data());
  reference::qk_norm_rope_forward(tokens, heads, head_dim, 1e-6f, x.data(), nullptr, weight.data(),
                                  RopeTable{cos.data(), sin.data()}, positions.data(), fused.data(),
                                  {heads * head_dim, head_dim}, nullptr, rstd.data());
  for (std::size_t i = 0; i < 64; ++i) normed[i] = bf16(float(bf16(float(x[i]) * rstd[i / 8])) * float(weight[i % 8]));
  reference::rope_forward(tokens, heads, head_dim, normed.data(), cos.data(), sin.data(), rotated.data());
  CHECK(max_abs_difference(fused, rotated) == 0);
}

}  // namespace rope_test
