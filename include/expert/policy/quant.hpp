// Policies of slot `quant`: how the base's projection weights are stored while they are used. Embedding, norms and head
// stay in the checkpoint's type (slot `head` may add a copy for decoding).
#pragma once
#include <cstdint>
#include <string_view>

#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

enum class WeightKind : std::uint8_t { as_checkpoint, nf4, int8_rows, int4_affine };

// The weights as the checkpoint has them (bf16, f16 or f32), unquantised.
struct Bf16Weights {
  using slot = slots::quant;
  static constexpr std::string_view quantization = "bf16";
  static constexpr WeightKind kind = WeightKind::as_checkpoint;
  static constexpr std::int64_t bits = 16, block_size = 0;
  static constexpr bool takes_gradient = true;
  static constexpr auto describe() { return std::array{Field{"/base_models/0/quantization", quantization}}; }
};

inline constexpr std::int64_t nested_block_size = 256;  // NF4's scales per scale of scales

// NF4 in blocks of 64 over the flattened tensor, absmax itself quantised to 8 bits in blocks of 256 (double
// quantisation): codes, absmax and values are those of bitsandbytes. arXiv 2305.14314.
struct Int4Quant {
  using slot = slots::quant;
  static constexpr std::string_view quantization = "int4";
  static constexpr WeightKind kind = WeightKind::nf4;
  static constexpr std::int64_t bits = 4, block_size = 64;
  static constexpr bool takes_gradient = false, double_quantization = true;
  static constexpr auto describe() { return std::array{Field{"/base_models/0/quantization", quantization}}; }
};

// Symmetric int8 with one f32 absmax per output row; weights only.
struct Int8Quant {
  using slot = slots::quant;
  static constexpr std::string_view quantization = "int8";
  static constexpr WeightKind kind = WeightKind::int8_rows;
  static constexpr std::int64_t bits = 8, block_size = 0;  // 0: a block is a row
  static constexpr bool takes_gradient = false;
  static constexpr auto describe() { return std::array{Field{"/base_models/0/quantization", quantization}}; }
};

// Unsigned 4-bit codes with a scale and a zero point, both f32, for each `Group` weights of a row:
// value = (code - zero) * scale, the smallest and the largest weight of a group being codes 0 and 15 (the
// round-to-nearest start of HQQ).
template <std::int64_t Group = 128>
struct Int4Affine {
  using slot = slots::quant;
  static constexpr std::string_view quantization = "int4-affine";
  static constexpr WeightKind kind = WeightKind::int4_affine;
  static constexpr std::int64_t bits = 4, block_size = Group;
  static constexpr bool takes_gradient = false, valid = Group > 0;
  static void explain() {
    static_assert(valid, "EXPERT-E024: a quantisation group has at least one weight. Raise Group.");
  }
  static constexpr auto describe() {
    return std::array{Field{"/base_models/0/quantization", quantization},
                      Field{"/base_models/0/quantization_group", block_size}};
  }
};

}  // namespace v0
}  // namespace expert
