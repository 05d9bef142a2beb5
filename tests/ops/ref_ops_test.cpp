// The reference ops against torch, transformers and PEFT on the tensors of ref_ops.safetensors: values and gradients.
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "expert/core/batch.hpp"
#include "expert/core/dtype.hpp"
#include "expert/ops/attention.hpp"
#include "expert/ops/cross_entropy.hpp"
#include "expert/ops/dora.hpp"
#include "expert/ops/linear.hpp"
#include "expert/ops/rms_norm.hpp"
#include "expert/ops/swiglu.hpp"
#include "parity_fixture.hpp"

using namespace expert;

namespace {

// Written before the first run. f32: some ten roundings of numbers up to the tensor's largest. bf16: one unit in the
// last place (2^-7 of a number at worst), because torch rounds each step of the backward pass and the op only its
// result.
constexpr double f32_tolerance = 2e-6, bf16_tolerance = 1.0 / 128;

const ParityFixture& fixture() {
  static const ParityFixture f("ref_ops.safetensors");
  return f;
}

template <class V>
void check_close(const V& got, const std::string& name, double tolerance) {
  INFO(name);
  const auto expected = fixture().floats(name);
  CHECK(max_abs_difference(got, expected) <= tolerance * max_abs(expected));
}

template <class T>
std::vector<T> load(const std::string& name) {
  const auto values = fixture().floats(name);
  return std::vector<T>(values.begin(), values.end());
}

template <class T>
void check_rms_norm(const std::string& key, double tolerance) {
  const std::int64_t rows = 7, cols = 64;
  const auto x = load<T>(key + ".x"), w = load<T>(key + ".w"), gy = load<T>(key + ".gy");
  REQUIRE(x.size() == 7 * 64);
  std::vector<T> y(x.size()), gx(x.size());
  std::vector<float> rstd(7), gw(64, 0.0f);
  reference::rms_norm_forward(rows, cols, 1e-6f, x.data(), cols, w.data(), y.data(), cols, rstd.data());
  check_close(y, key + ".y", tolerance);
  reference::rms_norm_backward(rows, cols, x.data(), cols, w.data(), rstd.data(), gy.data(), cols, gx.data(), cols,
                               false);
  check_close(gx, key + ".gx", tolerance);
  reference::rms_norm_weight_backward(rows, cols, x.data(), rstd.data(), gy.data(), gw.data());
  check_close(gw, key + ".gw", tolerance);

  std::vector<T> added(x.size(), T(1.0f));  // the residual stream: the gradient is added to what is there
  reference::rms_norm_backward(rows, cols, x.data(), cols, w.data(), rstd.data(), gy.data(), cols, added.data(), cols,
                               true);
  for (std::size_t i = 0; i < added.size(); ++i)
    REQUIRE(std::abs(float(added[i]) - 1 - float(gx[i])) <= tolerance * (1 + max_abs(gx)));
}

// (rows, inner) x (inner, cols), each matrix as it lies or transposed.
std::vector<float> product(const std::vector<float>& a, bool a_transposed, const std::vector<float>& b,
                           bool b_transposed, std::size_t rows, std::size_t inner, std::size_t cols, float scale = 1) {
  std::vector<float> out(rows * cols);
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < cols; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < inner; ++k)
        sum += double{a_transposed ? a[k * rows + i] : a[i * inner + k]} *
               double{b_transposed ? b[j * inner + k] : b[k * cols + j]};
      out[i * cols + j] = scale * static_cast<float>(sum);
    }
  return out;
}
std::vector<float> sum_of(std::vector<float> a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

}  // namespace

TEST_CASE("rms_norm gives Qwen3RMSNorm's values and gradients", "[ref_ops]") {
  check_rms_norm<float>("rmsnorm.f32", f32_tolerance);
  check_rms_norm<bf16>("rmsnorm.bf16", bf16_tolerance);
}

TEST_CASE("rms_norm in bf16 rounds before the weight, as transformers does", "[ref_ops]") {
  const auto x = load<bf16>("rmsnorm.bf16.x"), w = load<bf16>("rmsnorm.bf16.w"),
             expected = load<bf16>("rmsnorm.bf16.y");
  std::vector<bf16> y(x.size());
  std::vector<float> rstd(7);
  reference::rms_norm_forward(7, 64, 1e-6f, x.data(), 64, w.data(), y.data(), 64, rstd.data());
  std::size_t different = 0, other_order = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    different += y[i].bits != expected[i].bits;
    other_order += bf16(float(x[i]) * rstd[i / 64] * float(w[i % 64])).bits != expected[i].bits;
  }
  CHECK(different <= 4);    // of 448: rsqrt may differ in its last bit
  CHECK(other_order > 20);  // the wrong order would show
}

TEST_CASE("swiglu gives Qwen3MLP's activation and gradients", "[ref_ops]") {
  const auto gate = load<float>("swiglu.gate"), up = load<float>("swiglu.up"), gy = load<float>("swiglu.gy");
  std::vector<float> y(gate.size()), g_gate(gate.size()), g_up(gate.size());
  reference::swiglu_forward(7, 128, gate.data(), nullptr, up.data(), nullptr, y.data());
  check_close(y, "swiglu.y", f32_tolerance);
  reference::swiglu_backward(7, 128, gate.data(), nullptr, up.data(), nullptr, gy.data(), g_gate.data(), g_up.data());
  check_close(g_gate, "swiglu.g_gate", f32_tolerance);
  check_close(g_up, "swiglu.g_up", f32_tolerance);
}

TEST_CASE("cross_entropy over the loss rows gives torch's mean loss and gradient", "[ref_ops]") {
  const std::size_t vocab = 512;
  const auto logits = load<float>("ce.logits"), expected = load<float>("ce.glogits");
  const auto targets = fixture().ids("ce.targets");
  std::vector<float> rows;
  std::vector<std::int32_t> labels;
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>(t * vocab);
    if (targets[t] == ignore_index) {
      for (std::size_t v = 0; v < vocab; ++v) REQUIRE(expected[t * vocab + v] == 0);
      continue;
    }
    rows.insert(rows.end(), row, row + static_cast<std::ptrdiff_t>(vocab));
    labels.push_back(targets[t]);
  }
  REQUIRE(labels.size() == 10);
  std::vector<float> losses(labels.size());
  reference::cross_entropy(static_cast<std::int64_t>(labels.size()), static_cast<std::int64_t>(vocab), rows.data(),
                           labels.data(), 1.0f / 10, losses.data());
  double sum = 0;
  for (const float loss : losses) sum += double{loss};
  CHECK(std::abs(sum / 10 - double{fixture().scalar("ce.loss")}) < 2e-6 * 20);
  std::size_t row = 0;
  double worst = 0;
  for (std::size_t t = 0; t < targets.size(); ++t) {
    if (targets[t] == ignore_index) continue;
    for (std::size_t v = 0; v < vocab; ++v)
      worst = std::max(worst, std::abs(double{rows[row * vocab + v]} - double{expected[t * vocab + v]}));
    ++row;
  }
  CHECK(worst <= f32_tolerance * max_abs(expected));
}

TEST_CASE("causal grouped-query attention gives torch's context and gradients", "[ref_ops]") {
  const std::int64_t batch = 2, heads = 4, kv_heads = 2, tokens = 13, head_dim = 32, total = batch * tokens;
  // torch: (batch, heads, tokens, head_dim). Here: all rows of the batch one after the other, (tokens, heads *
  // head_dim).
  const auto rows_of = [&](const std::string& name, std::int64_t h_count) {
    const auto x = fixture().floats("attn." + name);
    std::vector<float> out(x.size());
    for (std::int64_t b = 0; b < batch; ++b)
      for (std::int64_t h = 0; h < h_count; ++h)
        for (std::int64_t t = 0; t < tokens; ++t)
          for (std::int64_t d = 0; d < head_dim; ++d)
            out[static_cast<std::size_t>(((b * tokens + t) * h_count + h) * head_dim + d)] =
                x[static_cast<std::size_t>(((b * h_count + h) * tokens + t) * head_dim + d)];
    return out;
  };
  std::vector<KeyRanges> keys;
  for (std::int32_t b = 0; b < 2; ++b)
    for (std::int32_t t = 0; t < 13; ++t) keys.push_back({0, 0, b * 13, b * 13 + t + 1});
  const auto q = rows_of("q", heads), k = rows_of("k", kv_heads), v = rows_of("v", kv_heads), go = rows_of("go", heads);
  const std::int64_t q_stride = heads * head_dim, kv_stride = kv_heads * head_dim;
  const float scale = 1 / std::sqrt(32.0f);
  std::vector<float> o(q.size()), lse(static_cast<std::size_t>(total * heads)), gq(q.size()), gk(k.size()),
      gv(v.size());
  reference::attention_forward(total, heads, kv_heads, head_dim, scale, q.data(), q_stride, k.data(), v.data(),
                               kv_stride, keys.data(), o.data(), q_stride, lse.data());
  const auto close = [&](const std::vector<float>& got, const std::string& name, std::int64_t h_count) {
    INFO(name);
    const auto expected = rows_of(name, h_count);
    CHECK(max_abs_difference(got, expected) <= f32_tolerance * max_abs(expected));
  };
  close(o, "o", heads);
  reference::attention_backward(total, total, heads, kv_heads, head_dim, scale, q.data(), q_stride, k.data(), v.data(),
                                kv_stride, keys.data(), o.data(), q_stride, lse.data(), go.data(), q_stride, gq.data(),
                                q_stride, gk.data(), gv.data(), kv_stride);
  close(gq, "gq", heads);
  close(gk, "gk", kv_heads);
  close(gv, "gv", kv_heads);

  // The same with the first four keys of each row as a shared prefix range: two ranges must equal one.
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::int32_t begin = keys[i].d0, end = keys[i].d1, border = std::min(begin + 4, end);
    keys[i] = {begin, border, border, end};
  }
  std::vector<float> o2(o.size()), gq2(gq.size()), gk2(gk.size()), gv2(gv.size());
  reference::attention_forward(total, heads, kv_heads, head_dim, scale, q.data(), q_stride, k.data(), v.data(),
                               kv_stride, keys.data(), o2.data(), q_stride, lse.data());
  reference::attention_backward(total, total, heads, kv_heads, head_dim, scale, q.data(), q_stride, k.data(), v.data(),
                                kv_stride, keys.data(), o2.data(), q_stride, lse.data(), go.data(), q_stride,
                                gq2.data(), q_stride, gk2.data(), gv2.data(), kv_stride);
  CHECK(o2 == o);
  CHECK(gq2 == gq);
  CHECK(gk2 == gk);
  CHECK(gv2 == gv);
}

TEST_CASE("DoRA's norm, output and gradients are PEFT's", "[ref_ops]") {
  const std::size_t out = 40, in = 24, r = 4, rows = 9;
  const auto w = load<float>("dora.W"), a = load<float>("dora.A"), b = load<float>("dora.B"), m = load<float>("dora.m"),
             x = load<float>("dora.X"), gy = load<float>("dora.gY");
  const float s = fixture().scalar("dora.scale");
  std::vector<float> w_square(out), norm(out), c(out);
  for (std::size_t i = 0; i < out; ++i)
    for (std::size_t j = 0; j < in; ++j) w_square[i] += w[i * in + j] * w[i * in + j];
  const auto w_a = product(w, false, a, true, out, in, r), a_a = product(a, false, a, true, r, in, r);
  reference::dora_scale(static_cast<std::int64_t>(out), static_cast<std::int64_t>(r), s, w_square.data(), w_a.data(),
                        a_a.data(), b.data(), m.data(), norm.data(), c.data());
  check_close(norm, "dora.norm", f32_tolerance);

  std::vector<float> xw(rows * out);
  reference::linear_forward(static_cast<std::int64_t>(rows), static_cast<std::int64_t>(out),
                            static_cast<std::int64_t>(in), x.data(), w.data(), xw.data());
  const auto t = product(x, false, a, true, rows, in, r);
  const auto z = sum_of(xw, product(t, false, b, true, rows, r, out, s));
  auto y = z;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] *= c[i % out];
  check_close(y, "dora.Y", f32_tolerance);

  std::vector<float> gz(z.size()), gm(out, 0.0f);
  reference::dora_backward(static_cast<std::int64_t>(rows), static_cast<std::int64_t>(out),
                           static_cast<std::int64_t>(out), z.data(), c.data(), norm.data(), gy.data(), gz.data(),
                           gm.data());
  check_close(gm, "dora.gm", f32_tolerance);
  const auto gt = product(gz, false, b, false, rows, out, r, s);
  check_close(product(gt, true, x, false, r, rows, in), "dora.gA", f32_tolerance);
  check_close(product(gz, true, t, false, out, rows, r, s), "dora.gB", f32_tolerance);
  check_close(sum_of(product(gz, false, w, false, rows, out, in), product(gt, false, a, false, rows, r, in)), "dora.gX",
              f32_tolerance);
}
