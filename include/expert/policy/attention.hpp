// Policies of slot `attention`: how scores become a weighted sum of values.
#pragma once
#include <string_view>

#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

// Tiled, with an online softmax, never a T x T matrix: what manifests call "flash-v2" and PyTorch sdpa. arXiv
// 2307.08691.
struct SdpaAttention {
  using slot = slots::attention;
  static constexpr std::string_view attention_kernel = "flash-v2";
  static constexpr bool use_sdpa = true;
  static constexpr auto describe() {
    return std::array{Field{"/runtime/attention_kernel", attention_kernel},
                      Field{"/training/config/use_sdpa", use_sdpa}};
  }
};

}  // namespace v0
}  // namespace expert
