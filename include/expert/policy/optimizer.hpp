// Policies of slot `optimizer`: the update rule. Its rates and decay are run-time values of the manifest.
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

}  // namespace v0
}  // namespace expert
