// Policies of slot `head`: the weights that turn hidden states into logits.
#pragma once
#include <cstdint>
#include <string_view>

#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

// The head (and the embedding, where tied) stays in the checkpoint's type, as in QLoRA.
struct HeadAsBase {
  using slot = slots::head;
  static constexpr std::int64_t head_bits = 0;
  static constexpr auto describe() { return std::array{Field{"/base_models/0/head_quantization", "none"}}; }
};

// A row-wise int8 copy, made and read by the generator only: training and its loss keep the checkpoint's head.
struct HeadInt8 {
  using slot = slots::head;
  static constexpr std::int64_t head_bits = 8;
  static constexpr auto describe() { return std::array{Field{"/base_models/0/head_quantization", "int8"}}; }
};

}  // namespace v0
}  // namespace expert
