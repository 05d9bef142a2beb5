// Forward pass, every intermediate, gradients of every base weight, left padding, bf16: against transformers.
#include "support.hpp"

namespace forward_test {
using namespace parity;

TEMPLATE_LIST_TEST_CASE("logits, loss and every intermediate equal transformers", "[parity]", parity_sets::ParitySets) {
  using Set = TestType;
  using E = On<Set, DoRA<1>>;  // a fresh adapter changes nothing: B is 0 and m is ||W||
  using M = typename E::model;
  constexpr std::int64_t H = M::num_attention_heads, K = M::num_key_value_heads, D = M::head_dim;
  CpuDevice device(2);
  const auto weights = load_weights<E>(path_of(Set::directory, "model"), device);
  const SafetensorsFile file(path_of(Set::directory, "ref_forward.safetensors"));
  const TokenBatch batch = batch_of(file);
  const std::int64_t n = batch.tokens();
  Trainer<E> trainer(device, weights, {});

  check_close("logits", logits_of(device, trainer, batch).data(), floats(file, "logits"), f32_logits);
  CHECK(std::abs(trainer.evaluate(batch) - double{scalar(file, "loss")}) <= f32_loss);

  trainer.forward(batch, 0, n);
  check_close("final_norm", trainer.final_hidden(), floats(file, "final_norm"), f32_intermediates);
  for (std::int64_t l = 0; l < M::num_hidden_layers; ++l) {
    const LayerBuffers<E> b = trainer.layer(l);
    const std::string prefix = "layers." + std::to_string(l) + ".";
    const auto check = [&](const char* name, const float* got) {
      check_close(prefix + name, got, floats(file, prefix + name), f32_intermediates);
    };
    check_close("hidden_states", b.x, floats(file, "hidden_states." + std::to_string(l)), f32_intermediates);
    check("input_layernorm", b.input_norm);
    check("q_proj", b.q);
    check("k_proj", b.k);
    check("v_proj", b.v);
    check("attn_context", b.context);
    check("o_proj", b.o);
    check("post_attention_layernorm", b.post_norm);
    check("gate_proj", b.gate);
    check("up_proj", b.up);
    check("swiglu", b.activation);
    check("down_proj", b.down);
    check("block_out", b.x_out);
    check_close(prefix + "q_rope", b.q_rotated, tokens_first(tensor(file, prefix + "q_rope")), f32_intermediates);
    check_close(prefix + "k_rope", b.k_rotated, tokens_first(tensor(file, prefix + "k_rope")), f32_intermediates);

    // The norms before the rotation exist only inside qk_norm_rope: position 0 turns nothing, so there they show.
    const auto& w = trainer.model().layers[static_cast<std::size_t>(l)];
    const auto head_norm = [&](const char* name, const float* z, const float* weight, std::int64_t heads) {
      std::vector<float> normed(static_cast<std::size_t>(n * heads * D)), rstd(static_cast<std::size_t>(n * heads));
      reference::rms_norm_forward(n * heads, D, static_cast<float>(M::rms_norm_eps), z, D, weight, normed.data(), D,
                                  rstd.data());
      check(name, normed.data());
      for (std::int64_t row = 0; row < batch.rows(); ++row) {
        const std::int64_t t = batch.row_begin[static_cast<std::size_t>(row)];
        const float* rotated = (heads == H ? b.q_rotated : b.k_rotated) + t * heads * D;
        check_close(std::string(name) + " at position 0", rotated,
                    std::vector<float>(normed.data() + t * heads * D, normed.data() + (t + 1) * heads * D), 1e-6);
      }
    };
    head_norm("q_norm", b.q, w.q_norm, H);
    head_norm("k_norm", b.k, w.k_norm, K);

    // Probabilities are never stored: rebuilt from what the backward pass uses, the rotated vectors and the
    // log-sum-exp.
    const TensorView& probs = tensor(file, prefix + "attn_probs");
    const std::int64_t T = probs.shape[2];
    std::vector<float> p(static_cast<std::size_t>(probs.elements()), 0.0f);
    for (std::int64_t t = 0; t < n; ++t)
      for (std::int64_t h = 0; h < H; ++h)
        for (std::int64_t j = batch.keys[static_cast<std::size_t>(t)].d0;
             j < batch.keys[static_cast<std::size_t>(t)].d1; ++j) {
          double s = 0;
          for (std::int64_t d = 0; d < D; ++d)
            s += double{b.q_rotated[(t * H + h) * D + d]} * double{b.k_rotated[(j * K + h / (H / K)) * D + d]};
          p[static_cast<std::size_t>(((t / T * H + h) * T + t % T) * T + j % T)] =
              static_cast<float>(std::exp(s / std::sqrt(static_cast<double>(D)) - double{b.lse[t * H + h]}));
        }
    check_close(prefix + "attn_probs", p.data(), probs.to_f32(), f32_intermediates);
  }
  // The last hidden state of transformers is the one after the final norm.
  check_close("hidden_states, last", trainer.final_hidden(),
              floats(file, "hidden_states." + std::to_string(M::num_hidden_layers)), f32_intermediates);
}

TEMPLATE_LIST_TEST_CASE("gradients of every base weight equal transformers", "[parity]", parity_sets::ParitySets) {
  using Set = TestType;
  using E = On<Set, FullFineTune, NoAdapter>;
  const auto gradients = fixture<Set>("ref_full_grads");
  if (!gradients) return;
  CpuDevice device(2);
  const auto weights = load_weights<E>(path_of(Set::directory, "model"), device);
  const TokenBatch batch = batch_of(SafetensorsFile(path_of(Set::directory, "ref_forward.safetensors")));
  Trainer<E> trainer(device, weights, {});
  trainer.accumulate(batch, 1 / static_cast<float>(batch.loss_tokens()));
  compare_slices<E>(trainer.gradients(), *gradients, "grad.", 0, first_gradients);
}

TEMPLATE_LIST_TEST_CASE("left padding is a document that starts later", "[parity]", parity_sets::ParitySets) {
  using Set = TestType;
  using E = On<Set, DoRA<1>>;
  const auto opened = fixture<Set>("ref_misc_forward");
  if (!opened || !has(*opened, "logits_left_padded")) return;
  const SafetensorsFile& file = *opened;
  CpuDevice device(2);
  TokenBatch batch = batch_of(file);
  const auto mask = tensor(file, "attention_mask_left").as<std::int64_t>();
  const auto positions = tensor(file, "position_ids_left").as<std::int64_t>();
  const std::int64_t T = tensor(file, "input_ids").shape[1];
  for (std::size_t i = 0; i < batch.positions.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i) / T * T;
    std::int64_t first = row;
    while (first < row + T && mask[static_cast<std::size_t>(first)] == 0) ++first;
    batch.positions[i] = mask[i] != 0 ? static_cast<std::int32_t>(positions[i]) : 0;
    batch.keys[i].d0 = static_cast<std::int32_t>(first);
    if (mask[i] == 0) batch.keys[i] = {};  // padding sees nothing
  }
  const auto weights = load_weights<E>(path_of(Set::directory, "model"), device);
  Trainer<E> trainer(device, weights, {});
  const std::vector<float> got = logits_of(device, trainer, batch), expected = floats(file, "logits_left_padded");
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] == 0) continue;  // meaningless rows
    const std::size_t V = static_cast<std::size_t>(E::model::vocab_size);
    check_close("logits of token " + std::to_string(i), got.data() + i * V, row_of(expected, i, V), f32_logits);
  }
}

TEMPLATE_LIST_TEST_CASE("bf16 weights in f32 equal transformers; bf16 compute stays within bf16's own spread",
                        "[parity]", parity_sets::ParitySets) {
  using Set = TestType;
  if (!fixture<Set>("model_bf16/model")) return;
  const auto opened = fixture<Set>("ref_misc_forward");
  if (!opened || !has(*opened, "logits_bf16_weights_bf16_compute")) return;
  const SafetensorsFile& file = *opened;
  CpuDevice device(2);
  const TokenBatch batch = batch_of(file);
  const std::vector<float> in_f32 = floats(file, "logits_bf16_weights_f32_compute"),
                           in_bf16 = floats(file, "logits_bf16_weights_bf16_compute");
  const auto run = [&]<class E>(std::type_identity<E>) {
    const auto weights = load_weights<E>(path_of(Set::directory, "model_bf16"), device);
    Trainer<E> trainer(device, weights, {});
    return logits_of(device, trainer, batch);
  };
  check_close("f32 compute", run(std::type_identity<On<Set, DoRA<1>>>{}).data(), in_f32, f32_logits);

  // transformers' own bf16 run differs from its f32 run by this much: ours may differ from either by as much, not more.
  double spread = 0, mean = 0, ours_mean = 0;
  for (std::size_t i = 0; i < in_f32.size(); ++i) {
    spread = std::max(spread, std::abs(double{in_f32[i]} - double{in_bf16[i]}));
    mean += std::abs(double{in_f32[i]} - double{in_bf16[i]}) / static_cast<double>(in_f32.size());
  }
  const std::vector<float> ours = run(std::type_identity<On<Set, DoRA<1>, Compute<bf16>>>{});
  check_close("bf16 compute against transformers' bf16", ours.data(), in_bf16, spread);
  for (std::size_t i = 0; i < in_f32.size(); ++i)
    ours_mean += std::abs(double{in_f32[i]} - double{ours[i]}) / static_cast<double>(in_f32.size());
  INFO("mean distance from f32: ours " << ours_mean << ", transformers " << mean);
  CHECK(ours_mean <= 1.25 * mean);
}

}  // namespace forward_test
