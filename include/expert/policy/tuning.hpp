// Policies of slots `tuning` and `recompute`: which parameters are trained, and what backward computes a second time.
#pragma once
#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

// Only the adapter learns; the base is read. The manifest says so by having an adapter.
struct AdapterOnly {
  using slot = slots::tuning;
  static constexpr bool trains_base = false, trains_adapter = true;
  static constexpr std::array<Field, 0> describe() { return {}; }
};

// Every base weight learns. The manifest says so by `"adapters": []`.
struct FullFineTune {
  using slot = slots::tuning;
  static constexpr bool trains_base = true, trains_adapter = false;
  static constexpr std::array<Field, 0> describe() { return {}; }
};

namespace detail {
template <bool Recompute>
constexpr auto describe_recompute() {
  return std::array{Field{"/training/config/gradient_checkpointing", Recompute},
                    Field{"/training/config/activation_checkpointing", Recompute, Presence::if_present}};
}
}  // namespace detail

// Activations of every layer are kept until backward has read them; memory is bounded by sub-batches instead.
struct KeepActivations {
  using slot = slots::recompute;
  static constexpr bool activation_checkpointing = false;
  static constexpr auto describe() { return detail::describe_recompute<activation_checkpointing>(); }
};

// Only the residual stream is kept; the rest of a layer is computed again in backward: the same gradients, bit by bit,
// for a third more arithmetic. transformers: gradient_checkpointing_enable().
struct RecomputeLayers {
  using slot = slots::recompute;
  static constexpr bool activation_checkpointing = true;
  static constexpr auto describe() { return detail::describe_recompute<activation_checkpointing>(); }
};

}  // namespace v0
}  // namespace expert
