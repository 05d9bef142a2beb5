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
// What backward may compute again, least arithmetic first: the planner takes the first of `Modes` with which a row fits
// the budget (plan/memory.hpp). Whatever it takes, the gradients are the same bit by bit.
template <Recompute... Modes>
struct Recomputes {
  using slot = slots::recompute;
  static constexpr std::array modes{Modes...};
  static constexpr auto describe() {
    constexpr bool again = modes.back() != Recompute::none;
    return std::array{Field{"/training/config/gradient_checkpointing", again},
                      Field{"/training/config/activation_checkpointing", again, Presence::if_present}};
  }
};
}  // namespace detail

// Activations of every layer are kept until backward has read them; memory is bounded by sub-batches instead.
struct KeepActivations : detail::Recomputes<Recompute::none> {};

// The projections are kept; rotated queries and keys, scaled values and the output of attention are computed again.
struct RecomputeAttention : detail::Recomputes<Recompute::attention> {};

// Only the residual stream is kept; the rest of a layer is computed again in backward, for a third more arithmetic.
// transformers: gradient_checkpointing_enable().
struct RecomputeLayers : detail::Recomputes<Recompute::layers> {};

// As little as the budget allows.
struct RecomputeToFit : detail::Recomputes<Recompute::none, Recompute::attention, Recompute::layers> {};

}  // namespace v0
}  // namespace expert
