// The reference ops against torch, transformers and PEFT on the tensors of ref_ops: values and gradients. And AdamW on
// PEFT's own gradients.
#include "expert/ops/adamw.hpp"
#include "expert/ops/attention.hpp"
#include "expert/ops/cross_entropy.hpp"
#include "expert/ops/dora.hpp"
#include "expert/ops/linear.hpp"
#include "expert/ops/rms_norm.hpp"
#include "expert/ops/swiglu.hpp"
#include "support.hpp"

namespace ops_test {
using namespace parity;

namespace {

struct Ops {
  const SafetensorsFile& file;

  template <class T>
  std::vector<T> load(const std::string& name) const {
    const std::vector<float> x = floats(file, name);
    return std::vector<T>(x.begin(), x.end());
  }
  std::int64_t size(const std::string& name, std::size_t axis) const { return tensor(file, name).shape.at(axis); }
  template <class T>
  void check(const std::vector<T>& got, const std::string& name, double tolerance = f32_op) const {
    check_close(name, got, floats(file, name), 0, tolerance);
  }

  template <class T>
  void rms_norm(const std::string& key, float eps, double tolerance) const {
    const std::int64_t rows = size(key + ".x", 0), cols = size(key + ".x", 1);
    const auto x = load<T>(key + ".x"), w = load<T>(key + ".w"), gy = load<T>(key + ".gy");
    std::vector<T> y(x.size()), gx(x.size());
    std::vector<float> rstd(static_cast<std::size_t>(rows)), gw(w.size(), 0.0f);
    reference::rms_norm_forward(rows, cols, eps, x.data(), cols, w.data(), y.data(), cols, rstd.data());
    check(y, key + ".y", tolerance);
    reference::rms_norm_backward(rows, cols, x.data(), cols, w.data(), rstd.data(), gy.data(), cols, gx.data(), cols,
                                 false);
    check(gx, key + ".gx", tolerance);
    reference::rms_norm_weight_backward(rows, cols, x.data(), rstd.data(), gy.data(), gw.data());
    check(gw, key + ".gw", tolerance);

    std::vector<T> added(x.size(), T(1.0f));  // the residual stream: the gradient is added to what is there
    reference::rms_norm_backward(rows, cols, x.data(), cols, w.data(), rstd.data(), gy.data(), cols, added.data(), cols,
                                 true);
    for (std::size_t i = 0; i < added.size(); ++i)
      REQUIRE(std::abs(float(added[i]) - 1 - float(gx[i])) <= tolerance * (1 + max_abs(gx)));
  }
};

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

TEMPLATE_LIST_TEST_CASE("rms_norm gives Qwen3RMSNorm's values and gradients", "[parity][ops]",
                        parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_ops");
  if (!file) return;
  constexpr auto eps = static_cast<float>(TestType::model::rms_norm_eps);
  const Ops ops{*file};
  ops.rms_norm<float>("rmsnorm.f32", eps, f32_op);
  ops.rms_norm<bf16>("rmsnorm.bf16", eps, bf16_op);
}

TEMPLATE_LIST_TEST_CASE("rms_norm in bf16 rounds before the weight, as transformers does", "[parity][ops]",
                        parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_ops");
  if (!file) return;
  const Ops ops{*file};
  const auto x = ops.load<bf16>("rmsnorm.bf16.x"), w = ops.load<bf16>("rmsnorm.bf16.w"),
             expected = ops.load<bf16>("rmsnorm.bf16.y");
  const std::size_t rows = x.size() / w.size();
  const auto cols = static_cast<std::int64_t>(w.size());
  std::vector<bf16> y(x.size());
  std::vector<float> rstd(rows);
  reference::rms_norm_forward(static_cast<std::int64_t>(rows), cols, static_cast<float>(TestType::model::rms_norm_eps),
                              x.data(), cols, w.data(), y.data(), cols, rstd.data());
  std::size_t different = 0, other_order = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    different += y[i].bits != expected[i].bits;
    other_order += bf16(float(x[i]) * rstd[i / w.size()] * float(w[i % w.size()])).bits != expected[i].bits;
  }
  CHECK(different * 112 <= y.size());  // rsqrt may differ in its last bit
  CHECK(other_order * 22 > y.size());  // the wrong order would show
}

TEMPLATE_LIST_TEST_CASE("swiglu gives Qwen3MLP's activation and gradients", "[parity][ops]", parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_ops");
  if (!file) return;
  const Ops ops{*file};
  const std::int64_t rows = ops.size("swiglu.gate", 0), cols = ops.size("swiglu.gate", 1);
  const auto gate = ops.load<float>("swiglu.gate"), up = ops.load<float>("swiglu.up"),
             gy = ops.load<float>("swiglu.gy");
  std::vector<float> y(gate.size()), g_gate(gate.size()), g_up(gate.size());
  reference::swiglu_forward(rows, cols, gate.data(), nullptr, up.data(), nullptr, y.data());
  ops.check(y, "swiglu.y");
  reference::swiglu_backward(rows, cols, gate.data(), nullptr, up.data(), nullptr, gy.data(), g_gate.data(),
                             g_up.data());
  ops.check(g_gate, "swiglu.g_gate");
  ops.check(g_up, "swiglu.g_up");
}

TEMPLATE_LIST_TEST_CASE("cross_entropy over the loss rows gives torch's mean loss and gradient", "[parity][ops]",
                        parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_ops");
  if (!file) return;
  const Ops ops{*file};
  const auto vocab = static_cast<std::size_t>(ops.size("ce.logits", 1));
  const auto logits = ops.load<float>("ce.logits"), all_expected = ops.load<float>("ce.glogits");
  const std::vector<std::int32_t> targets = ids(*file, "ce.targets");
  std::vector<float> rows, expected;
  std::vector<std::int32_t> labels;
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const std::vector<float> row = row_of(logits, t, vocab), gradient = row_of(all_expected, t, vocab);
    if (targets[t] == ignore_index) {
      CHECK(max_abs(gradient) == 0);
      continue;
    }
    rows.insert(rows.end(), row.begin(), row.end());
    expected.insert(expected.end(), gradient.begin(), gradient.end());
    labels.push_back(targets[t]);
  }
  REQUIRE_FALSE(labels.empty());
  const auto count = static_cast<float>(labels.size());
  std::vector<float> losses(labels.size());
  reference::cross_entropy(static_cast<std::int64_t>(labels.size()), static_cast<std::int64_t>(vocab), rows.data(),
                           labels.data(), 1.0f / count, losses.data());
  double sum = 0;
  for (const float loss : losses) sum += double{loss};
  ops.check(std::vector<float>{static_cast<float>(sum / double{count})}, "ce.loss");
  check_close("ce.glogits", rows, expected, 0, f32_op);
}

TEMPLATE_LIST_TEST_CASE("causal grouped-query attention gives torch's context and gradients", "[parity][ops]",
                        parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_ops");
  if (!file) return;
  const Ops ops{*file};
  const std::int64_t batch = ops.size("attn.q", 0), heads = ops.size("attn.q", 1), tokens = ops.size("attn.q", 2),
                     head_dim = ops.size("attn.q", 3), kv_heads = ops.size("attn.k", 1), total = batch * tokens;
  const auto rows_of = [&](const std::string& name) { return tokens_first(tensor(*file, "attn." + name)); };
  std::vector<KeyRanges> keys;
  for (std::int64_t b = 0; b < batch; ++b)
    for (std::int64_t t = 0; t < tokens; ++t)
      keys.push_back({0, 0, static_cast<std::int32_t>(b * tokens), static_cast<std::int32_t>(b * tokens + t + 1)});
  const std::vector<float> q = rows_of("q"), k = rows_of("k"), v = rows_of("v"), go = rows_of("go");
  const std::int64_t q_stride = heads * head_dim, kv_stride = kv_heads * head_dim;
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
  std::vector<float> o(q.size()), lse(static_cast<std::size_t>(total * heads)), gq(q.size()), gk(k.size()),
      gv(v.size());
  reference::attention_forward(total, heads, kv_heads, head_dim, scale, q.data(), q_stride, k.data(), v.data(),
                               {kv_stride, head_dim}, keys.data(), o.data(), q_stride, lse.data());
  check_close("attn.o", o, rows_of("o"), 0, f32_op);
  reference::attention_backward(total, total, heads, kv_heads, head_dim, scale, q.data(), q_stride, k.data(), v.data(),
                                kv_stride, keys.data(), o.data(), q_stride, lse.data(), go.data(), q_stride, gq.data(),
                                q_stride, gk.data(), gv.data(), kv_stride);
  check_close("attn.gq", gq, rows_of("gq"), 0, f32_op);
  check_close("attn.gk", gk, rows_of("gk"), 0, f32_op);
  check_close("attn.gv", gv, rows_of("gv"), 0, f32_op);

  // The same with the first four keys of each row as a shared prefix range: two ranges must equal one.
  for (KeyRanges& r : keys) {
    const std::int32_t begin = r.d0, end = r.d1, border = std::min(begin + 4, end);
    r = {begin, border, border, end};
  }
  std::vector<float> o2(o.size()), gq2(gq.size()), gk2(gk.size()), gv2(gv.size());
  reference::attention_forward(total, heads, kv_heads, head_dim, scale, q.data(), q_stride, k.data(), v.data(),
                               {kv_stride, head_dim}, keys.data(), o2.data(), q_stride, lse.data());
  reference::attention_backward(total, total, heads, kv_heads, head_dim, scale, q.data(), q_stride, k.data(), v.data(),
                                kv_stride, keys.data(), o2.data(), q_stride, lse.data(), go.data(), q_stride,
                                gq2.data(), q_stride, gk2.data(), gv2.data(), kv_stride);
  CHECK(o2 == o);
  CHECK(gq2 == gq);
  CHECK(gk2 == gk);
  CHECK(gv2 == gv);
}

TEMPLATE_LIST_TEST_CASE("DoRA's norm, output and gradients are PEFT's", "[parity][ops]", parity_sets::ParitySets) {
  const auto file = fixture<TestType>("ref_ops");
  if (!file) return;
  const Ops ops{*file};
  const auto out = static_cast<std::size_t>(ops.size("dora.W", 0)),
             in = static_cast<std::size_t>(ops.size("dora.W", 1)), r = static_cast<std::size_t>(ops.size("dora.A", 0)),
             rows = static_cast<std::size_t>(ops.size("dora.X", 0));
  const auto w = ops.load<float>("dora.W"), a = ops.load<float>("dora.A"), b = ops.load<float>("dora.B"),
             m = ops.load<float>("dora.m"), x = ops.load<float>("dora.X"), gy = ops.load<float>("dora.gY");
  const float s = scalar(*file, "dora.scale");
  std::vector<float> w_square(out), norm(out), c(out);
  for (std::size_t i = 0; i < out; ++i)
    for (std::size_t j = 0; j < in; ++j) w_square[i] += w[i * in + j] * w[i * in + j];
  const std::vector<float> w_a = product(w, false, a, true, out, in, r), a_a = product(a, false, a, true, r, in, r);
  const std::vector<float> cross = sum_of(sum_of(w_a, w_a), product(b, false, a_a, false, out, r, r, s));
  reference::dora_scale(static_cast<std::int64_t>(out), static_cast<std::int64_t>(r), s, w_square.data(), cross.data(),
                        b.data(), m.data(), norm.data(), c.data());
  ops.check(norm, "dora.norm");

  std::vector<float> xw(rows * out);
  reference::linear_forward(static_cast<std::int64_t>(rows), static_cast<std::int64_t>(out),
                            static_cast<std::int64_t>(in), x.data(), w.data(), xw.data());
  const std::vector<float> t = product(x, false, a, true, rows, in, r);
  const std::vector<float> z = sum_of(xw, product(t, false, b, true, rows, r, out, s));
  std::vector<float> y = z;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] *= c[i % out];
  ops.check(y, "dora.Y");

  std::vector<float> gz(z.size()), gm(out, 0.0f);
  reference::dora_backward(static_cast<std::int64_t>(rows), static_cast<std::int64_t>(out),
                           static_cast<std::int64_t>(out), z.data(), c.data(), norm.data(), gy.data(), gz.data(),
                           gm.data());
  ops.check(gm, "dora.gm");
  const std::vector<float> gt = product(gz, false, b, false, rows, out, r, s);
  ops.check(product(gt, true, x, false, r, rows, in), "dora.gA");
  ops.check(product(gz, true, t, false, out, rows, r, s), "dora.gB");
  ops.check(sum_of(product(gz, false, w, false, rows, out, in), product(gt, false, a, false, rows, r, in)), "dora.gX");
}

TEMPLATE_LIST_TEST_CASE("one AdamW step on PEFT's gradients gives its tensors", "[parity][ops]",
                        parity_sets::ParitySets) {
  using Set = TestType;
  const AdamWStep step(1e-3, 0.9, 0.999, 1e-8, 0.01, 1);  // as every adapter fixture was made
  for_each_adapter<Set>([&]<class A>(const std::string& name, std::type_identity<A>) {
    const auto before = fixture<Set>(name + "/adapter_model"), after = fixture<Set>("ref_" + name);
    if (!before || !after) return;
    std::size_t compared = 0;
    for (const TensorView& saved : before->tensors()) {
      const std::string key = fixture_name(saved.name);
      const TensorView* expected = after->find("step1." + key);
      if (expected == nullptr) continue;
      std::vector<float> parameters = saved.to_f32();
      const std::vector<float> gradients = floats(*after, "grad." + key);
      std::vector<float> m(parameters.size()), v(parameters.size());
      reference::adamw(step, static_cast<std::int64_t>(parameters.size()), parameters.data(), gradients.data(),
                       m.data(), v.data());
      check_close(name + ": " + key, parameters, expected->to_f32(), adamw_of_given_gradients);
      ++compared;
    }
    if (compared == 0) {
      WARN("skipped: no tensors after one step of " << name << " in " << Set::directory);
    } else {
      CHECK(compared == before->tensors().size());
    }
  });
}

}  // namespace ops_test
