// An expert type and the shape of a batch -> floating-point operations of one training step: what a rate is divided by.
#pragma once
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/plan/tensors.hpp"

namespace expert {
inline namespace v0 {

// By what is multiplied; forward and backward. The adapter's term that is part of a base product counts there.
struct StepFlops {
  double base_forward = 0, base_backward = 0, adapter_forward = 0, adapter_backward = 0, attention_forward = 0,
         attention_backward = 0, head = 0;
  constexpr double total() const {
    return base_forward + base_backward + adapter_forward + adapter_backward + attention_forward + attention_backward +
           head;
  }
};

// Multiplications and additions of the model alone, as papers count them: no recompute, no norms. A frozen base takes
// no product for its weight gradients, and its first layer none for the input of q, k and v.
//   tokens, loss_tokens: of the step; document_length: mean, for causal attention within documents
template <class E>
constexpr StepFlops step_flops(std::int64_t tokens, std::int64_t loss_tokens, std::int64_t document_length) {
  using M = typename E::model;
  using P = Projection;
  constexpr bool full = E::tuning::trains_base;
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  const double linear = real(linear_parameters<M>()), head = real(M::vocab_size * M::hidden_size);
  double below_first = 0;
  if (!full)
    for (const P p : {P::q_proj, P::k_proj, P::v_proj}) below_first += real(in_features<M>(p) * out_features<M>(p));
  const double adapter = 2 * real(full ? 0 : adapter_parameters<M, typename E::adapter>()) * real(tokens);
  // Forward: Q K^T and P V over half of L x L; backward: five products of that size.
  const double attention =
      real(M::num_hidden_layers * M::num_attention_heads * M::head_dim) * real(document_length) * real(tokens);
  // Two of the six products with a factor of the adapter, t B^T and d_t A, are terms of base products.
  return {.base_forward = 2 * linear * real(tokens) + adapter / 2,
          .base_backward = 2 * (linear * (full ? 2 : 1) - below_first) * real(tokens) + adapter / 2,
          .adapter_forward = adapter / 2,
          .adapter_backward = 3 * adapter / 2,
          .attention_forward = 2 * attention,
          .attention_backward = 5 * attention,
          .head = 2 * head * (full ? 3 : 2) * real(loss_tokens)};
}
template <class E>
constexpr double training_flops(std::int64_t tokens, std::int64_t loss_tokens, std::int64_t document_length) {
  return step_flops<E>(tokens, loss_tokens, document_length).total();
}

}  // namespace v0
}  // namespace expert
