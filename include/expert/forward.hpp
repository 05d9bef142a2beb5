// 4. Token ids, positions and key ranges, with the model's weights and an adapter -> hidden rows after the final norm.
// One layer is one function for training and for generation: only the buffers differ.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "expert/core/batch.hpp"
#include "expert/core/config.hpp"
#include "expert/cpu/attention.hpp"
#include "expert/cpu/instances.hpp"
#include "expert/cpu/linear.hpp"
#include "expert/cpu/ops.hpp"
#include "expert/cpu/phases.hpp"
#include "expert/cpu/vector.hpp"
#include "expert/ops/dora.hpp"
#include "expert/ops/model_view.hpp"
#include "expert/plan/parameters.hpp"

namespace expert {
inline namespace v0 {

// An adapter in the compute type, in the layout of AdapterLayout<E>, with what DoRA derives from it once per optimizer
// step. A generator has each B by rank, (r, out): a single row is then added to in vectors.
template <class E>
struct AdapterView {
  using T = typename E::compute::type;
  const T* values = nullptr;
  bool b_by_rank = false;
  const float *norm = nullptr, *scale = nullptr;  // (outputs of all layers), DoRA only
  float dropout = 0;                              // 0 outside training
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
};

// The tokens of one pass. Key indices count rows of the key and value buffers.
struct TokenView {
  std::int64_t tokens = 0;
  const std::int32_t *input_ids = nullptr, *positions = nullptr;
  const KeyRanges* keys = nullptr;
  const std::int32_t* cache_rows = nullptr;  // where keys and values go; null: token t to row t
  std::int64_t first_token = 0;              // position of token 0 among those of the optimizer step (dropout)
};

template <class E>
struct LayerBuffers {
  using T = typename E::compute::type;
  T *x, *input_norm, *q, *k, *v, *q_rotated, *k_rotated, *v_scaled, *context, *o, *x_mid, *post_norm, *gate, *up,
      *activation, *down, *x_out;
  float *rstd_input, *rstd_q, *rstd_k, *rstd_post, *lse;
  std::array<T*, all_projections.size()> rank_rows{};  // x A^T by target
  std::array<T*, all_projections.size()> branch{};     // DoRA with dropout: the dropped product, before its scale
  HeadLayout kv{E::model::num_key_value_heads * E::model::head_dim, E::model::head_dim};  // of k_rotated and v_scaled
};

template <class E>
struct ForwardContext {
  using T = typename E::compute::type;
  const ModelView<E>* model = nullptr;
  const AdapterView<E>* adapter = nullptr;  // null: the base alone
  RopeTable rope;
  T *dropped = nullptr, *dropped_rest = nullptr;
};

namespace detail {

template <class M>
float attention_scale() noexcept {
  return 1 / std::sqrt(static_cast<float>(M::head_dim));
}

template <class E>
inline constexpr bool adapts = E::tuning::trains_adapter && (E::adapter::r > 0);

// DoRA's column scale that the next op must apply to the output of `p`, or null.
template <class E>
const float* column_scale(const ForwardContext<E>& context, std::int64_t layer, Projection p) noexcept {
  if constexpr (adapts<E>) {
    if constexpr (E::adapter::is_dora && !E::adapter::dropout_product)
      if (context.adapter != nullptr && E::adapter::targets(p))
        return context.adapter->scale + AdapterLayout<E>::output_offset(layer, p);
  }
  return nullptr;
}

template <class E>
DropoutMask dropout_mask(const AdapterView<E>& adapter, const TokenView& tokens, std::int64_t layer,
                         Projection p) noexcept {
  const auto place = static_cast<std::uint32_t>(layer * 8 + static_cast<std::int64_t>(p));
  return {RandomStream(adapter.seed, Purpose::dropout, adapter.step, place), tokens.first_token, adapter.dropout};
}

template <class T, class View>
void base_forward(Cpu& cpu, std::int64_t rows, const View& w, const T* x, T* y,
                  const LowRankTerm<T>* term = nullptr) noexcept {
  const PhaseScope scope(cpu, Phase::base_forward);
  linear_forward(cpu, rows, w, x, y, term);
}

// y (T, out) = x W^T + s (x A^T) B^T, before DoRA's column scale. With DoRA's dropout product
//   y = (x - x_d) W^T + c * (x_d W^T + s (x_d A^T) B^T),  x_d = dropout(x),
// which is PEFT's W x + (c - 1) W x_d + c s B A x_d.
template <class E>
void project_forward(Cpu& cpu, const ForwardContext<E>& context, std::int64_t layer, Projection p,
                     const TokenView& tokens, const typename E::compute::type* x, typename E::compute::type* y,
                     const LayerBuffers<E>& b) noexcept {
  using T = typename E::compute::type;
  const auto& w = context.model->layers[static_cast<std::size_t>(layer)][p];
  const std::int64_t n = tokens.tokens;
  if constexpr (adapts<E>) {
    if (context.adapter != nullptr && E::adapter::targets(p)) {
      const AdapterView<E>& adapter = *context.adapter;
      const auto at = AdapterLayout<E>::at(layer, p);
      const auto scaling = static_cast<float>(E::adapter::scaling());
      const T* input = x;
      const T* base_input = x;
      T* product = y;
      if (adapter.dropout > 0) {
        constexpr bool branch = E::adapter::dropout_product;
        dropout_forward(cpu, n, w.in, dropout_mask(adapter, tokens, layer, p), x, context.dropped,
                        branch ? context.dropped_rest : nullptr);
        input = context.dropped;
        if constexpr (branch) {
          base_input = context.dropped;
          product = b.branch[index_of(p)];
        }
      } else if constexpr (E::adapter::dropout_product) {
        product = b.branch[index_of(p)];
      }
      T* rank_rows = b.rank_rows[index_of(p)];
      {
        const PhaseScope scope(cpu, Phase::low_rank_forward);
        low_rank_rows(cpu, n, w.in, E::adapter::r, input, adapter.values + at.a, adapter.b_by_rank, rank_rows);
      }
      const LowRankTerm<T> term{rank_rows, adapter.values + at.b, adapter.b_by_rank, E::adapter::r, scaling};
      base_forward(cpu, n, w, base_input, product, &term);
      if constexpr (E::adapter::dropout_product) {
        const float* c = adapter.scale + AdapterLayout<E>::output_offset(layer, p);
        if (adapter.dropout > 0) {
          base_forward(cpu, n, w, context.dropped_rest, y);
          residual_add(cpu, n, w.out, y, product, c, y);
        } else {
          scale_columns(cpu, n, 1, w.out, product, c, y, {w.out, w.out}, nullptr);
        }
      }
      return;
    }
  }
  base_forward(cpu, n, w, x, y);
}

}  // namespace detail

// b.q, b.k and b.v as the projections leave them -> b.context (T, H * D), with rotated queries and keys, scaled values,
// statistics and log-sum-exp. The middle of Qwen3Attention.forward.
template <class E>
void attend_forward(Cpu& cpu, const ForwardContext<E>& context, std::int64_t layer, const TokenView& tokens,
                    const LayerBuffers<E>& b) noexcept {
  using M = typename E::model;
  using P = Projection;
  constexpr std::int64_t H = M::num_attention_heads, K = M::num_key_value_heads, D = M::head_dim, Q = H * D;
  const auto eps = static_cast<float>(M::rms_norm_eps);
  const auto& w = context.model->layers[static_cast<std::size_t>(layer)];
  const std::int64_t n = tokens.tokens;
  const auto scale = [&](P p) { return detail::column_scale(context, layer, p); };

  qk_norm_rope_forward(cpu, n, H, D, eps, b.q, scale(P::q_proj), w.q_norm, context.rope, tokens.positions, b.q_rotated,
                       {Q, D}, nullptr, b.rstd_q);
  qk_norm_rope_forward(cpu, n, K, D, eps, b.k, scale(P::k_proj), w.k_norm, context.rope, tokens.positions, b.k_rotated,
                       b.kv, tokens.cache_rows, b.rstd_k);
  scale_columns(cpu, n, K, D, b.v, scale(P::v_proj), b.v_scaled, b.kv, tokens.cache_rows);
  const PhaseScope scope(cpu, Phase::attention_forward);
  attention_forward(cpu, n, H, K, D, detail::attention_scale<M>(), b.q_rotated, Q, b.k_rotated, b.v_scaled, b.kv,
                    tokens.keys, b.context, Q, b.lse);
}

// b.x (T, C) -> b.x_out (T, C), leaving in the other buffers what layer_backward needs. Qwen3DecoderLayer.forward.
template <class E>
void layer_forward(Cpu& cpu, const ForwardContext<E>& context, std::int64_t layer, const TokenView& tokens,
                   const LayerBuffers<E>& b) noexcept {
  using M = typename E::model;
  using P = Projection;
  constexpr std::int64_t C = M::hidden_size, F = M::intermediate_size;
  const auto eps = static_cast<float>(M::rms_norm_eps);
  const auto& w = context.model->layers[static_cast<std::size_t>(layer)];
  const std::int64_t n = tokens.tokens;
  const auto project = [&](P p, const auto* x, auto* y) {
    detail::project_forward(cpu, context, layer, p, tokens, x, y, b);
  };
  const auto scale = [&](P p) { return detail::column_scale(context, layer, p); };

  rms_norm_forward(cpu, n, C, eps, b.x, C, w.input_layernorm, b.input_norm, C, b.rstd_input);
  project(P::q_proj, b.input_norm, b.q);
  project(P::k_proj, b.input_norm, b.k);
  project(P::v_proj, b.input_norm, b.v);
  attend_forward(cpu, context, layer, tokens, b);
  project(P::o_proj, b.context, b.o);
  residual_add(cpu, n, C, b.x, b.o, scale(P::o_proj), b.x_mid);

  rms_norm_forward(cpu, n, C, eps, b.x_mid, C, w.post_attention_layernorm, b.post_norm, C, b.rstd_post);
  project(P::gate_proj, b.post_norm, b.gate);
  project(P::up_proj, b.post_norm, b.up);
  swiglu_forward(cpu, n, F, b.gate, scale(P::gate_proj), b.up, scale(P::up_proj), b.activation);
  project(P::down_proj, b.activation, b.down);
  residual_add(cpu, n, C, b.x_mid, b.down, scale(P::down_proj), b.x_out);
}

// Rows of embed_tokens -> x (T, C).
template <class E>
void embed(Cpu& cpu, const ModelView<E>& model, const TokenView& tokens, typename E::compute::type* x) noexcept {
  constexpr std::int64_t C = E::model::hidden_size;
  if (model.embed_tokens.storage == Storage::bf16)
    embedding_forward(cpu, tokens.tokens, C, tokens.input_ids, static_cast<const bf16*>(model.embed_tokens.data), x);
  else
    embedding_forward(cpu, tokens.tokens, C, tokens.input_ids, static_cast<const float*>(model.embed_tokens.data), x);
}

// cos and sin of positions [0, context_length) for the expert's rope policy: two tables of (context_length, head_dim /
// 2) in f32, with the values that transformers has after its cast to the compute type.
template <class E>
RopeTable make_rope_table(std::int64_t context_length, float* memory) {
  using M = typename E::model;
  using T = typename E::compute::type;
  constexpr std::int64_t half = M::head_dim / 2;
  std::array<float, half> inv_freq;
  const float scaling =
      E::rope::inv_freq(inv_freq, M::rope_theta, M::head_dim, M::max_position_embeddings, context_length);
  float *cos = memory, *sin = memory + context_length * half;
  for (std::int32_t p = 0; p < context_length; ++p)
    reference::rope_tables<T>({&p, 1}, inv_freq, scaling, cos + p * half, sin + p * half);
  return {cos, sin};
}

// Refreshes what DoRA derives from its parameters: norm and scale of every output (see ops/dora.hpp). Once per
// optimizer step.
//   product: room for max(out) * r + r * r floats
template <class E>
void refresh_dora(Cpu& cpu, const ModelView<E>& model, const float* parameters, const float* weight_square,
                  float* product, float* norm, float* scale) noexcept {
  if constexpr (detail::adapts<E>) {
    if constexpr (E::adapter::is_dora) {
      const PhaseScope scope(cpu, Phase::dora_norm);
      using L = AdapterLayout<E>;
      constexpr std::int64_t r = E::adapter::r;
      for (std::int64_t layer = 0; layer < E::model::num_hidden_layers; ++layer)
        for (const Projection p : all_projections) {
          if (!E::adapter::targets(p)) continue;
          const auto& w = model.layers[static_cast<std::size_t>(layer)][p];
          const auto at = L::at(layer, p);
          const std::int64_t o = L::output_offset(layer, p);
          const auto scaling = static_cast<float>(E::adapter::scaling());
          const float *a = parameters + at.a, *b = parameters + at.b;
          // As it begins, B is zero and so is all that the products would add.
          const std::int64_t ranks = std::all_of(b, b + w.out * r, [](float x) { return x == 0; }) ? 0 : r;
          if (ranks > 0) {
            float* a_a = product + w.out * r;
            weight_times_rows<typename E::compute::type>(cpu, w, r, a, product);
            gemm(cpu, Trans::no, Trans::yes, r, r, w.in, 1.0f, a, w.in, a, w.in, 0.0f, a_a, r);
            gemm(cpu, Trans::no, Trans::no, w.out, r, r, scaling, b, r, a_a, r, 2.0f, product, r);
          }
          parallel_pieces(cpu, w.out, column_piece, [&](std::int64_t i, std::int64_t count) {
            reference::dora_scale(count, ranks, scaling, weight_square + o + i, product + i * r, b + i * r,
                                  parameters + at.magnitude + i, norm + o + i, scale + o + i);
          });
        }
    }
  }
}

}  // namespace v0
}  // namespace expert
