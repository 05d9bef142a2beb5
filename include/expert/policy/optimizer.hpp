// Policies of slot `optimizer`: the update rule. Its rates and decay are run-time values of the manifest. A rule of
// your own is a policy with `static void update(const UpdateStep&, n, parameters, gradients, first_moment,
// second_moment) noexcept`, called for pieces of n parameters; what is not decayed comes with weight_decay 0.
#pragma once
#include <cstdint>
#include <string_view>

#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

// torch.optim.AdamW: decoupled weight decay, two f32 moments per parameter. arXiv 1711.05101.
struct AdamW {
  using slot = slots::optimizer;
  static constexpr std::string_view optim = "adamw";
  static constexpr std::int64_t moments = 2;
  static constexpr double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  static constexpr auto describe() { return std::array{Field{"/training/config/optim", optim}}; }
};

// torch.optim.Muon for the matrices of the layers, AdamW for the rest: embedding, head, norms, DoRA's magnitudes.
// One learning rate serves both. ops/muon.hpp has the equations.
struct Muon {
  using slot = slots::optimizer;
  static constexpr std::string_view optim = "muon";
  static constexpr std::int64_t moments = 2;
  static constexpr double momentum = 0.95;
  static constexpr double beta1 = AdamW::beta1, beta2 = AdamW::beta2, eps = AdamW::eps;
  static constexpr auto describe() { return std::array{Field{"/training/config/optim", optim}}; }
};

// An optimizer with a `momentum` updates matrices as Muon does.
template <class O>
concept OrthogonalisesMatrices = requires { O::momentum; };

}  // namespace v0
}  // namespace expert
