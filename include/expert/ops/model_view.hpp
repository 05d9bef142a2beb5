// Where every weight of a model lies, in the types in which the ops read it.
#pragma once
#include <array>

#include "expert/core/config.hpp"
#include "expert/ops/linear.hpp"
#include "expert/plan/parameters.hpp"
#include "expert/policy/quant.hpp"

namespace expert {
inline namespace v0 {

namespace detail {
template <WeightKind Kind>
struct WeightView {
  using type = PackedView<Kind == WeightKind::nf4         ? PackedFormat::nf4
                          : Kind == WeightKind::int8_rows ? PackedFormat::int8
                                                          : PackedFormat::int4_affine>;
};
template <>
struct WeightView<WeightKind::as_checkpoint> {
  using type = MatrixView;
};
}  // namespace detail

// Non-owning: Weights<E> or, for a base that is trained, Trainer<E> holds the memory.
template <class E>
struct ModelView {
  using T = typename E::compute::type;
  using Projected = typename detail::WeightView<E::quant::kind>::type;  // packed where the base is quantised
  struct Layer {
    std::array<Projected, all_projections.size()> projections;
    const T *input_layernorm = nullptr, *post_attention_layernorm = nullptr, *q_norm = nullptr, *k_norm = nullptr;
    const Projected& operator[](Projection p) const { return projections[index_of(p)]; }
  };
  MatrixView embed_tokens, lm_head;
  const T* norm = nullptr;
  std::array<Layer, static_cast<std::size_t>(E::model::num_hidden_layers)> layers;
};

}  // namespace v0
}  // namespace expert
