// Number types of weights and activations: bfloat16 and IEEE half as storage, converted to and from float.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

// Brain float: the upper 16 bits of a float. Rounds to nearest even, as torch does; NaN stays NaN.
struct bf16 {
  std::uint16_t bits = 0;
  bf16() = default;
  EXPERT_HOST_DEVICE constexpr bf16(float x) : bits(round(x)) {}  // implicit: ops are written once for float and bf16
  EXPERT_HOST_DEVICE constexpr operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
  EXPERT_HOST_DEVICE static constexpr bf16 from_bits(std::uint16_t b) {
    bf16 x;
    x.bits = b;
    return x;
  }

 private:
  EXPERT_HOST_DEVICE static constexpr std::uint16_t round(float x) {
    const auto u = std::bit_cast<std::uint32_t>(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((u >> 16) | 0x40u);
    return static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
};

// IEEE 754 binary16, for reading checkpoints; nothing is computed in it.
struct f16 {
  std::uint16_t bits = 0;
  f16() = default;
  constexpr operator float() const {
    const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16, exponent = (bits >> 10) & 0x1fu,
                        fraction = bits & 0x3ffu;
    if (exponent == 0x1fu) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
    if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (fraction << 13));
    const float value = static_cast<float>(fraction) * 0x1p-24f;  // subnormal or zero
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  static constexpr f16 from_bits(std::uint16_t b) {
    f16 x;
    x.bits = b;
    return x;
  }
};

// The dtypes of the safetensors format, under its names.
enum class DType : std::uint8_t { BOOL, U8, I8, I16, U16, F16, BF16, I32, U32, F32, F64, I64, U64, F8_E4M3, F8_E5M2 };

constexpr std::int64_t bytes_of(DType t) {
  switch (t) {
    case DType::BOOL:
    case DType::U8:
    case DType::I8:
    case DType::F8_E4M3:
    case DType::F8_E5M2:
      return 1;
    case DType::I16:
    case DType::U16:
    case DType::F16:
    case DType::BF16:
      return 2;
    case DType::I32:
    case DType::U32:
    case DType::F32:
      return 4;
    case DType::F64:
    case DType::I64:
    case DType::U64:
      return 8;
  }
  return 0;
}
constexpr std::string_view name_of(DType t) {
  constexpr std::string_view names[] = {"BOOL", "U8",  "I8",  "I16", "U16", "F16",     "BF16",   "I32",
                                        "U32",  "F32", "F64", "I64", "U64", "F8_E4M3", "F8_E5M2"};
  return names[static_cast<int>(t)];
}

template <class T>
inline constexpr DType dtype_of = DType::F32;
template <>
inline constexpr DType dtype_of<bf16> = DType::BF16;
template <>
inline constexpr DType dtype_of<f16> = DType::F16;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::U8;
template <>
inline constexpr DType dtype_of<std::int8_t> = DType::I8;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::I32;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::I64;
template <>
inline constexpr DType dtype_of<double> = DType::F64;

}  // namespace v0
}  // namespace expert
