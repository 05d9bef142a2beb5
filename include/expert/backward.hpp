// 6. The gradient of a layer's output, and what its forward pass kept -> gradients of the trainable tensors and of its
// input. Derived by hand from forward.hpp; DoRA's norm is a constant, as in PEFT.
#pragma once
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/forward.hpp"
#include "expert/plan/memory.hpp"

namespace expert {
inline namespace v0 {

template <class E>
struct BackwardBuffers {
  using T = typename E::compute::type;
  T *d_x, *d_norm, *d_wide, *d_wide2, *d_q, *d_k, *d_v, *d_context, *d_rank;
  T* d_branch;           // (T, max out): DoRA with dropout, gradient of the dropped product
  float* norm_partials;  // full fine-tuning
  float* gradients;      // flat, in the layout of what is trained; added to
};

namespace detail {

template <class T, class View>
void base_backward(Cpu& cpu, std::int64_t rows, const View& w, const T* d_y, bool accumulate, T* d_x,
                   const LowRankTerm<T>* term = nullptr) noexcept {
  const PhaseScope scope(cpu, Phase::base_backward);
  linear_backward_input(cpu, rows, w, d_y, accumulate, d_x, term);
}

// DoRA's columns of the output of `p`, which the adapter targets.
template <class E>
DoraColumns dora_columns(const ForwardContext<E>& context, std::int64_t layer, Projection p,
                         const BackwardBuffers<E>& back) noexcept {
  const std::int64_t o = AdapterLayout<E>::output_offset(layer, p);
  return {context.adapter->scale + o, context.adapter->norm + o,
          back.gradients + AdapterLayout<E>::at(layer, p).magnitude};
}

// From d_y (T, out): gradients of the projection's own tensors, and d_x (T, in) += or = its input's gradient (d_x null:
// nobody needs it). scaled: room for d_y times DoRA's scale; it may be d_y. Null: the op that left d_y has scaled it.
template <class E>
void project_backward(Cpu& cpu, const ForwardContext<E>& context, std::int64_t layer, Projection p,
                      const TokenView& tokens, const typename E::compute::type* x, const typename E::compute::type* y,
                      const typename E::compute::type* d_y, typename E::compute::type* scaled, bool accumulate,
                      typename E::compute::type* d_x, const LayerBuffers<E>& b,
                      const BackwardBuffers<E>& back) noexcept {
  using T = typename E::compute::type;
  const auto& w = context.model->layers[static_cast<std::size_t>(layer)][p];
  const std::int64_t n = tokens.tokens;
  if constexpr (adapts<E>) {
    if (E::adapter::targets(p)) {
      const AdapterView<E>& adapter = *context.adapter;
      const auto at = AdapterLayout<E>::at(layer, p);
      const auto scaling = static_cast<float>(E::adapter::scaling());
      constexpr std::int64_t r = E::adapter::r;
      const bool dropped = adapter.dropout > 0;
      const DropoutMask mask = dropout_mask(adapter, tokens, layer, p);
      const T* input = x;
      const T* z = y;
      if (dropped) {
        dropout_forward(cpu, n, w.in, mask, x, context.dropped, static_cast<T*>(nullptr));
        input = context.dropped;
      }
      if constexpr (E::adapter::dropout_product) {
        z = b.branch[index_of(p)];
        if (dropped) scaled = back.d_branch;
      }
      const T* d_z = d_y;  // gradient of the product before DoRA's scale
      if constexpr (E::adapter::is_dora) {
        if (scaled != nullptr) {
          dora_backward(cpu, n, w.out, z, dora_columns(context, layer, p, back), d_y, scaled);
          d_z = scaled;
        }
      }
      {
        const PhaseScope scope(cpu, Phase::low_rank_backward);
        low_rank_backward(cpu, n, w.out, w.in, r, scaling, input, adapter.values + at.b, b.rank_rows[index_of(p)], d_z,
                          back.d_rank, back.gradients + at.a, back.gradients + at.b);
      }
      if (d_x == nullptr) return;
      const LowRankTerm<T> term{back.d_rank, adapter.values + at.a, true, r, 1.0f};  // d_rank A
      if (!dropped) return base_backward(cpu, n, w, d_z, accumulate, d_x, &term);
      T* d_dropped = context.dropped;  // its forward value is no longer needed
      if constexpr (E::adapter::dropout_product) {
        // d_x = d_rest + mask * (d_dropped - d_rest), since rest = x - dropped
        base_backward(cpu, n, w, d_y, accumulate, d_x);
        residual_subtract(cpu, n, w.out, scaled, d_y, scaled);
        base_backward(cpu, n, w, scaled, false, d_dropped, &term);
      } else {
        base_backward(cpu, n, w, d_y, accumulate, d_x);
        const PhaseScope scope(cpu, Phase::low_rank_backward);
        low_rank_backward_input(cpu, n, w.in, r, back.d_rank, adapter.values + at.a, d_dropped);
      }
      dropout_backward(cpu, n, w.in, mask, d_dropped, d_x);
      return;
    }
  }
  if constexpr (E::tuning::trains_base)
    linear_backward_weight(cpu, n, w.out, w.in, d_y, x, back.gradients + BaseLayout<E>::at(layer, p));
  if (d_x != nullptr) base_backward(cpu, n, w, d_y, accumulate, d_x);
}

// d_residual += gradient through a rms_norm of the residual stream.
template <class E>
void norm_backward(Cpu& cpu, const TokenView& tokens, const typename E::compute::type* x,
                   const typename E::compute::type* weight, const float* rstd, std::int64_t offset,
                   const BackwardBuffers<E>& back) noexcept {
  constexpr std::int64_t C = E::model::hidden_size;
  if constexpr (E::tuning::trains_base)
    rms_norm_weight_backward(cpu, tokens.tokens, C, x, rstd, back.d_norm, back.gradients + offset, back.norm_partials,
                             norm_chunk_rows);
  rms_norm_backward(cpu, tokens.tokens, C, x, C, weight, rstd, back.d_norm, C, back.d_x, C, true);
}

}  // namespace detail

// back.d_x (T, C): gradient of b.x_out, replaced by the gradient of b.x. `input_needed` is false for the first layer of
// a frozen base: nothing below it learns, so its q, k and v products need no input gradient.
template <class E>
void layer_backward(Cpu& cpu, const ForwardContext<E>& context, std::int64_t layer, const TokenView& tokens,
                    const LayerBuffers<E>& b, const BackwardBuffers<E>& back, bool input_needed) noexcept {
  using M = typename E::model;
  using T = typename E::compute::type;
  using P = Projection;
  using B = BaseLayout<E>;
  constexpr std::int64_t F = M::intermediate_size, H = M::num_attention_heads, K = M::num_key_value_heads,
                         D = M::head_dim, Q = H * D, KV = K * D;
  const auto& w = context.model->layers[static_cast<std::size_t>(layer)];
  const std::int64_t n = tokens.tokens;
  const auto project = [&](P p, const T* x, const T* y, const T* d_y, T* scaled, bool accumulate, T* d_x) {
    detail::project_backward(cpu, context, layer, p, tokens, x, y, d_y, scaled, accumulate, d_x, b, back);
  };
  // For the op that leaves the gradient of an output, which then needs no scaling of its own.
  const auto dora = [&](P p) {
    if constexpr (detail::adapts<E>)
      if (detail::column_scale(context, layer, p) != nullptr) return detail::dora_columns(context, layer, p, back);
    return DoraColumns{};
  };
  const auto scaled = [&](P p, T* d_y) { return dora(p) ? nullptr : d_y; };
  const auto weight_gradient = [&](std::int64_t offset) {
    return E::tuning::trains_base ? back.gradients + offset : nullptr;
  };

  project(P::down_proj, b.activation, b.down, back.d_x, back.d_context, false, back.d_wide);
  swiglu_backward(cpu, n, F, b.gate, dora(P::gate_proj), b.up, dora(P::up_proj), back.d_wide, back.d_wide,
                  back.d_wide2);
  project(P::gate_proj, b.post_norm, b.gate, back.d_wide, scaled(P::gate_proj, back.d_wide), false, back.d_norm);
  project(P::up_proj, b.post_norm, b.up, back.d_wide2, scaled(P::up_proj, back.d_wide2), true, back.d_norm);
  detail::norm_backward<E>(cpu, tokens, b.x_mid, w.post_attention_layernorm, b.rstd_post,
                           B::post_attention_layernorm(layer), back);

  project(P::o_proj, b.context, b.o, back.d_x, back.d_norm, false, back.d_context);
  {
    const PhaseScope scope(cpu, Phase::attention_backward);
    attention_backward(cpu, n, n, H, K, D, detail::attention_scale<M>(), b.q_rotated, Q, b.k_rotated, b.v_scaled, KV,
                       tokens.keys, b.context, Q, b.lse, back.d_context, Q, back.d_q, Q, back.d_k, back.d_v, KV);
  }
  qk_norm_rope_backward(cpu, n, H, D, b.q, dora(P::q_proj), w.q_norm, context.rope, tokens.positions, b.rstd_q,
                        back.d_q, weight_gradient(B::q_norm(layer)), back.norm_partials, norm_chunk_rows);
  qk_norm_rope_backward(cpu, n, K, D, b.k, dora(P::k_proj), w.k_norm, context.rope, tokens.positions, b.rstd_k,
                        back.d_k, weight_gradient(B::k_norm(layer)), back.norm_partials, norm_chunk_rows);
  T* d_input = input_needed ? back.d_norm : nullptr;
  project(P::q_proj, b.input_norm, b.q, back.d_q, scaled(P::q_proj, back.d_q), false, d_input);
  project(P::k_proj, b.input_norm, b.k, back.d_k, scaled(P::k_proj, back.d_k), true, d_input);
  project(P::v_proj, b.input_norm, b.v, back.d_v, back.d_v, true, d_input);
  if (input_needed)
    detail::norm_backward<E>(cpu, tokens, b.x, w.input_layernorm, b.rstd_input, B::input_layernorm(layer), back);
}

}  // namespace v0
}  // namespace expert
