// An expert type and a token count -> every buffer of training or generation, by name and bytes, at compile time.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

#include "expert/core/arena.hpp"
#include "expert/core/batch.hpp"
#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"
#include "expert/plan/parameters.hpp"
#include "expert/policy/loss.hpp"
#include "expert/policy/optimizer.hpp"
#include "expert/policy/quant.hpp"
#include "expert/policy/rules.hpp"

namespace expert {
inline namespace v0 {

inline constexpr std::int64_t norm_chunk_rows = 256;  // rows whose gradient of a norm weight is summed in one piece

namespace detail {
template <class E>
struct Sizes {
  using M = typename E::model;
  using T = typename E::compute::type;
  static constexpr std::int64_t t = sizeof(T), f = sizeof(float), C = M::hidden_size, F = M::intermediate_size,
                                V = M::vocab_size, L = M::num_hidden_layers, H = M::num_attention_heads,
                                K = M::num_key_value_heads, D = M::head_dim, Q = H * D, KV = K * D, R = E::adapter::r;
  static constexpr bool adapts = E::tuning::trains_adapter && R > 0;
  static constexpr bool own_parameters = adapts && slots::HasOwnParameters<typename E::adapter>;
  static constexpr std::int64_t targets = [] {
    std::int64_t n = 0;
    for (const Projection p : all_projections) n += adapts && E::adapter::targets(p);
    return n;
  }();
  static constexpr std::int64_t max_out = std::max({Q, F, C}), max_in = max_out;
  static constexpr std::int64_t max_matrix = std::max({C * Q, C* F});
  // Muon's scratch for the largest trained matrix: two of its size, two squares of its smaller side.
  static constexpr std::int64_t muon = [] {
    std::int64_t n = 0;
    const auto holds = [&](std::int64_t rows, std::int64_t cols) {
      const std::int64_t side = std::min(rows, cols);
      n = std::max(n, 2 * (rows * cols + side * side));
    };
    for (const Projection p : all_projections) {
      const std::int64_t out = out_features<M>(p), in = in_features<M>(p);
      if (E::tuning::trains_base) holds(out, in);
      if (adapts && !own_parameters && E::adapter::targets(p)) holds(R, in), holds(out, R);
    }
    return n;
  }();
};
}  // namespace detail

// Bytes of the base while it is used, mapped or packed: projections as the quant policy stores them (quantised from a
// checkpoint in bf16; sizes that are multiples of 64 and 16), the rest in the types that a bf16 checkpoint has.
template <class E>
inline constexpr std::int64_t base_bytes = [] {
  using M = typename E::model;
  using Q = typename E::quant;
  const auto pieces = [](std::int64_t n, std::int64_t of) { return (n + of - 1) / of; };
  std::int64_t layer = 0;
  for (const Projection p : all_projections) {
    const std::int64_t out = out_features<M>(p), n = out * in_features<M>(p);
    layer += pieces(n * Q::bits, 8);
    if (Q::bits == 16) continue;
    const std::int64_t scales = Q::block_size > 0 ? pieces(n, Q::block_size) : out;
    layer += scales * detail::Sizes<E>::f * (Q::kind == WeightKind::int4_affine ? 2 : 1);
  }
  const std::int64_t rest = model_parameters<M>() - linear_parameters<M>();
  return layer * M::num_hidden_layers + rest * std::int64_t{sizeof(bf16)};
}();

// Everything that a trainer touches beyond the mapped weights. What is computed again in backward is kept of one layer;
// the residual stream is kept of all.
template <class E>
struct TrainingPlan {
  enum : std::size_t {
    parameters,
    gradients,
    first_moment,
    second_moment,
    muon_scratch,
    factors,
    factor_gradients,
    compute_copy,
    dora_norm,
    dora_scale,
    dora_weight_square,
    dora_product,
    residual,
    residual_mid,
    input_norm,
    q,
    k,
    v,
    q_rotated,
    k_rotated,
    v_scaled,
    context,
    o,
    post_norm,
    gate,
    up,
    activation,
    down,
    rank_rows,
    dropout_branch,
    row_statistics,
    log_sum_exp,
    final_norm,
    loss_rows,
    d_loss_rows,
    logits,
    softmax_state,
    losses,
    loss_index,
    labels,
    d_final,
    d_residual,
    d_norm,
    d_wide,
    d_wide2,
    d_q,
    d_k,
    d_v,
    d_context,
    d_rank,
    d_branch,
    dropped,
    dropped_rest,
    norm_partials,
    rope_tables,
    key_ranges,
    count
  };
  using S = detail::Sizes<E>;

  static constexpr std::int64_t kept_layers(Recompute mode) { return mode == Recompute::layers ? 1 : S::L; }
  static constexpr std::int64_t kept_attention(Recompute mode) { return mode == Recompute::none ? S::L : 1; }

  static constexpr std::array<Region, count> regions(std::int64_t tokens, Recompute mode) {
    constexpr std::int64_t t = S::t, f = S::f, L = S::L;
    const std::int64_t kept = kept_layers(mode), attended = kept_attention(mode);
    constexpr bool dora = S::adapts && E::adapter::is_dora, branch = S::adapts && E::adapter::dropout_product;
    const std::int64_t T = tokens, n = trainable_parameters<E> * f, chunk = std::min(E::loss::chunk_rows, T);
    constexpr bool recomputed = loss_vocab_rows<typename E::loss> > 0;
    constexpr std::int64_t vocab_rows = recomputed ? std::min(loss_vocab_rows<typename E::loss>, S::V) : S::V;
    const std::int64_t outputs = dora ? AdapterLayout<E>::layer_outputs * L * f : 0;
    std::array<Region, count> r{};
    const std::int64_t factor_bytes = S::own_parameters ? AdapterLayout<E>::size * f : 0;
    const std::int64_t values = S::own_parameters ? AdapterLayout<E>::size : trainable_parameters<E>;
    r[parameters] = {"parameters (f32)", n};
    r[gradients] = {"gradients (f32)", n};
    r[first_moment] = {"first moment of the optimizer (f32)", E::optimizer::moments >= 1 ? n : 0};
    r[second_moment] = {"second moment of the optimizer (f32)", E::optimizer::moments >= 2 ? n : 0};
    r[muon_scratch] = {"Muon's update of one matrix (f32)",
                       OrthogonalisesMatrices<typename E::optimizer> ? S::muon * f : 0};
    r[factors] = {"A and B that the parameters expand to (f32)", factor_bytes};
    r[factor_gradients] = {"gradients of A and B (f32)", factor_bytes};
    r[compute_copy] = {"parameters in the compute type", t == f ? 0 : values * t};
    r[dora_norm] = {"DoRA norms", outputs};
    r[dora_scale] = {"DoRA scales", outputs};
    r[dora_weight_square] = {"DoRA row squares of W", outputs};
    r[dora_product] = {"DoRA W A^T and A A^T, one projection", dora ? (S::max_out + S::R) * S::R * f : 0};
    r[residual] = {"residual stream, every layer", (L + 1) * T * S::C * t};
    r[residual_mid] = {"residual stream after attention, kept layers", kept * T * S::C * t};
    r[input_norm] = {"input_layernorm output, kept layers", kept * T * S::C * t};
    r[q] = {"q_proj output, kept layers", kept * T * S::Q * t};
    r[k] = {"k_proj output, kept layers", kept * T * S::KV * t};
    r[v] = {"v_proj output, kept layers", kept * T * S::KV * t};
    r[q_rotated] = {"rotated queries, kept layers", attended * T * S::Q * t};
    r[k_rotated] = {"rotated keys, kept layers", attended * T * S::KV * t};
    r[v_scaled] = {"values, kept layers", attended * T * S::KV * t};
    r[context] = {"attention output, kept layers", attended * T * S::Q * t};
    r[o] = {"o_proj output, kept layers", kept * T * S::C * t};
    r[post_norm] = {"post_attention_layernorm output, kept layers", kept * T * S::C * t};
    r[gate] = {"gate_proj output, kept layers", kept * T * S::F * t};
    r[up] = {"up_proj output, kept layers", kept * T * S::F * t};
    r[activation] = {"swiglu output, kept layers", kept * T * S::F * t};
    r[down] = {"down_proj output, kept layers", kept * T * S::C * t};
    r[rank_rows] = {"x A^T, kept layers and targets", kept * S::targets * T * S::R * t};
    r[dropout_branch] = {"DoRA's dropped product, kept layers and targets",
                         branch ? AdapterLayout<E>::layer_outputs * kept * T * t : 0};
    r[row_statistics] = {"rms_norm statistics, kept layers", (kept * (2 + S::H + S::K) + 1) * T * f};
    r[log_sum_exp] = {"attention log-sum-exp, kept layers", attended * T * S::H * f};
    r[final_norm] = {"final norm output", T * S::C * t};
    r[loss_rows] = {"hidden rows that bear loss, one chunk", chunk * S::C * t};
    r[d_loss_rows] = {"their gradient", chunk * S::C * t};
    r[logits] = {"logits, one chunk", chunk * vocab_rows * t};
    r[softmax_state] = {"softmax sums and gradients of hidden rows (f32), one chunk",
                        recomputed ? chunk * (3 + S::C) * f : 0};
    r[losses] = {"losses, one chunk", chunk * f};
    r[loss_index] = {"positions that bear loss", T * std::int64_t{sizeof(std::int32_t)}};
    r[labels] = {"labels, one chunk", chunk * std::int64_t{sizeof(std::int32_t)}};
    r[d_final] = {"gradient of the final norm output", T * S::C * t};
    r[d_residual] = {"gradient of the residual stream", T * S::C * t};
    r[d_norm] = {"gradient of a norm output", T * S::C * t};
    r[d_wide] = {"gradient of gate_proj and activation", T * S::F * t};
    r[d_wide2] = {"gradient of up_proj", T * S::F * t};
    r[d_q] = {"gradient of queries", T * S::Q * t};
    r[d_k] = {"gradient of keys", T * S::KV * t};
    r[d_v] = {"gradient of values", T * S::KV * t};
    r[d_context] = {"gradient of the attention output", T * std::max(S::Q, S::C) * t};
    r[d_rank] = {"gradient of x A^T", S::adapts ? T * S::R * t : 0};
    r[d_branch] = {"gradient of DoRA's dropped product", branch ? T * S::max_out * t : 0};
    r[dropped] = {"dropped input, one projection", S::adapts ? T * S::max_in * t : 0};
    r[dropped_rest] = {"input less dropped input, one projection", branch ? T * S::max_in * t : 0};
    r[norm_partials] = {
        "partial gradients of a norm weight",
        E::tuning::trains_base ? (T + norm_chunk_rows - 1) / norm_chunk_rows * std::max(S::C, S::D) * f : 0};
    r[rope_tables] = {"cos and sin by position", E::packing::max_seq_length * S::D * f};
    r[key_ranges] = {"key ranges", T * std::int64_t{sizeof(KeyRanges)}};
    return r;
  }
  // The least arithmetic with which a row fits the budget; the last mode where none does. Sub-batches cost nothing: the
  // base is frozen and the loss is a sum.
  static constexpr Recompute recompute = [] {
    for (const Recompute mode : E::recompute::modes)
      if (total_bytes(regions(E::packing::max_seq_length, mode)) <= E::budget::bytes) return mode;
    return E::recompute::modes.back();
  }();
  static constexpr std::array<Region, count> regions(std::int64_t tokens) { return regions(tokens, recompute); }
  static constexpr std::int64_t bytes(std::int64_t tokens) { return total_bytes(regions(tokens)); }

  // Rows of a packed batch are independent and the loss is a sum: any split gives the same gradient. The largest
  // divisor of the batch whose plan fits runs at once.
  static constexpr std::int64_t sub_batch_rows = [] {
    std::int64_t rows = E::batch::batch_size;
    while (rows > 1 &&
           (E::batch::batch_size % rows != 0 || bytes(rows * E::packing::max_seq_length) > E::budget::bytes))
      --rows;
    return rows;
  }();
  static constexpr std::int64_t max_tokens = sub_batch_rows * E::packing::max_seq_length;
};

// Everything that a generator touches beyond the mapped weights: `rows` sequences of at most `context` tokens in the
// cache, `tokens` of them computed at once.
template <class E>
struct GenerationPlan {
  enum : std::size_t {
    adapter,
    dora_norm,
    dora_scale,
    dora_weight_square,
    dora_product,
    head,
    key_cache,
    value_cache,
    residual,
    residual_mid,
    norm,
    q,
    k,
    v,
    q_rotated,
    context,
    o,
    gate,
    up,
    activation,
    down,
    rank_rows,
    branch,
    row_statistics,
    log_sum_exp,
    last_rows,
    logits,
    sampling,
    rope_tables,
    input_ids,
    positions,
    cache_rows,
    key_ranges,
    count
  };
  using S = detail::Sizes<E>;

  static constexpr std::array<Region, count> regions(std::int64_t rows, std::int64_t context_length,
                                                     std::int64_t tokens, bool with_adapter) {
    constexpr std::int64_t t = S::t, f = S::f, L = S::L, i = sizeof(std::int32_t);
    constexpr bool dora = S::adapts && E::adapter::is_dora;
    const std::int64_t T = tokens, n = S::adapts && with_adapter ? AdapterLayout<E>::size : 0;
    // As PackedMatrix (ops/packed.hpp) has rows: in strips of 16, k in blocks of 8, one scale each.
    constexpr std::int64_t packed_rows = (S::V + 15) / 16 * 16, aligned8 = (S::C + 7) / 8 * 8;
    const std::int64_t outputs = dora && with_adapter ? AdapterLayout<E>::layer_outputs * L * f : 0;
    std::array<Region, count> r{};
    r[adapter] = {"adapter in the compute type", n * t};
    r[dora_norm] = {"DoRA norms", outputs};
    r[dora_scale] = {"DoRA scales", outputs};
    r[dora_weight_square] = {"DoRA row squares of W", outputs};
    r[dora_product] = {"DoRA W A^T and A A^T, one projection", outputs > 0 ? (S::max_out + S::R) * S::R * f : 0};
    r[head] = {"int8 copy of the head", E::head::head_bits == 8 ? packed_rows * (aligned8 + f) : 0};
    r[key_cache] = {"key cache", L * rows * context_length * S::KV * t};
    r[value_cache] = {"value cache", L * rows * context_length * S::KV * t};
    r[residual] = {"residual stream", T * S::C * t};
    r[residual_mid] = {"residual stream after attention", T * S::C * t};
    r[norm] = {"norm output", T * S::C * t};
    r[q] = {"q_proj output", T * S::Q * t};
    r[k] = {"k_proj output", T * S::KV * t};
    r[v] = {"v_proj output", T * S::KV * t};
    r[q_rotated] = {"rotated queries", T * S::Q * t};
    r[context] = {"attention output", T * S::Q * t};
    r[o] = {"o_proj output", T * S::C * t};
    r[gate] = {"gate_proj output", T * S::F * t};
    r[up] = {"up_proj output", T * S::F * t};
    r[activation] = {"swiglu output", T * S::F * t};
    r[down] = {"down_proj output", T * S::C * t};
    r[rank_rows] = {"x A^T", n > 0 ? T * S::R * t : 0};
    r[branch] = {"DoRA's dropped product", n > 0 && E::adapter::dropout_product ? T * S::max_out * t : 0};
    r[row_statistics] = {"rms_norm statistics", T * std::max<std::int64_t>(S::H, 1) * f};
    r[log_sum_exp] = {"attention log-sum-exp", T * S::H * f};
    r[last_rows] = {"hidden rows to decode", rows * S::C * t};
    r[logits] = {"logits", rows * S::V * t};
    r[sampling] = {"sampling scratch", S::V * (f + f + i)};
    r[rope_tables] = {"cos and sin by position", context_length * S::D * f};
    r[input_ids] = {"token ids", T * i};
    r[positions] = {"positions", T * i};
    r[cache_rows] = {"cache rows", T * i};
    r[key_ranges] = {"key ranges", T * std::int64_t{sizeof(KeyRanges)}};
    return r;
  }
};

// Bytes that a generator of one sequence gains by the adapter: what /perf/vram_mb_overhead bounds.
template <class E>
constexpr std::int64_t adapter_overhead_bytes(std::int64_t context_length) {
  const auto bytes = [&](bool with_adapter) {
    return total_bytes(GenerationPlan<E>::regions(1, context_length, context_length, with_adapter));
  };
  return bytes(true) - bytes(false);
}

}  // namespace v0
}  // namespace expert
