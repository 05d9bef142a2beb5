// Where every weight of a model lies, in the types in which the ops read it.
#pragma once
#include <array>

#include "expert/core/config.hpp"
#include "expert/ops/linear.hpp"
#include "expert/plan/parameters.hpp"

namespace expert {
inline namespace v0 {

// Non-owning: Weights<E> or, for a base that is trained, Trainer<E> holds the memory.
template <class E>
struct ModelView {
  using T = typename E::compute::type;
  struct Layer {
    std::array<MatrixView, all_projections.size()> projections;
    const T *input_layernorm = nullptr, *post_attention_layernorm = nullptr, *q_norm = nullptr, *k_norm = nullptr;
    const MatrixView& operator[](Projection p) const { return projections[index_of(p)]; }
  };
  MatrixView embed_tokens, lm_head;
  const T* norm = nullptr;
  std::array<Layer, static_cast<std::size_t>(E::model::num_hidden_layers)> layers;
};

}  // namespace v0
}  // namespace expert
