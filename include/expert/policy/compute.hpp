// Policies of slot `compute`: the type of activations. Sums, norms, softmax, losses and the optimizer are f32 in both.
#pragma once
#include <concepts>

#include "expert/core/dtype.hpp"
#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

using f32 = float;

template <class T>
struct Compute {
  using slot = slots::compute;
  using type = T;
  static constexpr bool valid = std::same_as<T, f32> || std::same_as<T, bf16>;
  static void explain() {
    static_assert(valid, "EXPERT-E029: activations are f32 or bf16. Use Compute<f32> or Compute<bf16>.");
  }
  static constexpr auto describe() { return std::array{Field{"/training/config/bf16", std::same_as<T, bf16>}}; }
};

}  // namespace v0
}  // namespace expert
