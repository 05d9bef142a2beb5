// quantize: weights -> codes and scales in the formats of bitsandbytes (NF4, FP4, double quantisation, dynamic 8-bit,
// int8 by rows), and back. Codes, packing and scales are bitsandbytes' CPU results (0.50): files made by either are
// equal.
//   4-bit: value[i] = code[q[i]] * absmax[i / block_size] over the flattened tensor; q[2k] is the high nibble of byte k
//   double quantisation: absmax[b] = dynamic_code[c[b]] * nested_absmax[b / 256] + offset
//   int8: value[i] = q[i] * absmax[row] / 127
//   affine: value[i] = (q[i] - zero) * scale, of a group of weights
// Weights must be finite (others get some code, without undefined behaviour). Zero, denormal and largest finite blocks
// give finite values, with denormals flushed or not.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/policy/quant.hpp"

namespace expert {
inline namespace v0 {

// Sixteen levels and how a scaled weight finds its own: the number of `bounds` (midpoints of the sorted levels) that
// lie below it is its rank, order[rank] its code.
struct FourBitCode {
  std::array<float, 16> values;
  std::array<std::uint8_t, 16> order{};
  std::array<float, 15> bounds{};

  constexpr explicit FourBitCode(const std::array<float, 16>& levels) : values(levels) {
    for (std::uint8_t i = 0; i < 16; ++i) {  // insertion sort: equal levels (FP4 has two zeros) stay in code order
      std::size_t place = i;
      for (; place > 0 && levels[order[place - 1]] > levels[i]; --place) order[place] = order[place - 1];
      order[place] = i;
    }
    for (std::size_t i = 0; i < 15; ++i) bounds[i] = (levels[order[i]] + levels[order[i + 1]]) / 2;
  }
};

// NormalFloat4 (arXiv 2305.14314, appendix E): quantiles of a normal distribution, with an exact zero.
inline constexpr FourBitCode nf4_code{
    {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
     -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
     0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f}};
// bitsandbytes' FP4: sign, two bits of exponent, one of fraction, divided by the largest.
inline constexpr FourBitCode fp4_code{{0.0f, 0.0052083334885537624f, 0.6666666865348816f, 1.0f, 0.3333333432674408f,
                                       0.5f, 0.1666666716337204f, 0.25f, 0.0f, -0.0052083334885537624f,
                                       -0.6666666865348816f, -1.0f, -0.3333333432674408f, -0.5f, -0.1666666716337204f,
                                       -0.25f}};

namespace detail {

// bitsandbytes.functional.create_dynamic_map(): for each decade from 1e-6 to 1 the midpoints of 2^decade steps over
// [0.1, 1], with both signs, and 0 and 1. torch.linspace rounds once per boundary (a fused multiply and add).
constexpr std::array<float, 256> dynamic_map() {
  std::array<float, 256> map{};
  std::size_t size = 0;
  map[size++] = 0.0f;
  map[size++] = 1.0f;
  constexpr float decades[] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  for (int decade = 0; decade < 7; ++decade) {
    const int steps = 1 << decade;
    const float step = (1.0f - 0.1f) / static_cast<float>(steps);
    const auto boundary = [&](int k) {
      return 2 * k <= steps ? static_cast<float>(double{0.1f} + double{step} * k)
                            : static_cast<float>(1.0 - double{step} * (steps - k));
    };
    for (int k = 0; k < steps; ++k) {
      const float mean = (boundary(k) + boundary(k + 1)) / 2.0f;
      map[size++] = decades[decade] * mean;
      map[size++] = -(decades[decade] * mean);
    }
  }
  std::sort(map.begin(), map.end());
  return map;
}

// |x| of a block -> the factor to [-1, 1]. Where the reciprocal would leave the normal range, x is divided instead.
struct BlockScaler {
  float absmax = 0, inverse = 0;
  explicit BlockScaler(float a) noexcept : absmax(a), inverse(a >= 1e-38f && a <= 1e37f ? 1.0f / a : 0.0f) {}
  float operator()(float x) const noexcept {
    if (absmax == 0) return 0;
    // In this order a NaN becomes -1: it must not reach a conversion to an integer.
    return std::min(std::max(-1.0f, inverse != 0 ? x * inverse : x / absmax), 1.0f);
  }
};

template <class T>
float absmax_of(const T* w, std::int64_t n) noexcept {
  float a = 0;
  for (std::int64_t i = 0; i < n; ++i) a = std::max(a, std::abs(static_cast<float>(w[i])));
  return a;
}

}  // namespace detail

inline constexpr std::array<float, 256> dynamic_code = detail::dynamic_map();

// The scales of a 4-bit tensor: `absmax` (one f32 per block), or where that is null, double quantised.
struct BlockScales {
  const float* absmax = nullptr;
  const std::uint8_t* absmax_codes = nullptr;  // (blocks)
  const float* nested_absmax = nullptr;        // (ceil(blocks / 256))
  float offset = 0;
  float operator[](std::int64_t block) const noexcept {
    if (absmax != nullptr) return absmax[block];
    return dynamic_code[absmax_codes[block]] * nested_absmax[block / nested_block_size] + offset;
  }
};

namespace reference {

// w: n <= block_size weights of one block -> (n + 1) / 2 bytes and the block's absmax. An odd end is padded with a
// zero.
template <class T>
void quantize_4bit_block(const FourBitCode& code, const T* w, std::int64_t n, std::uint8_t* packed,
                         float& absmax) noexcept {
  absmax = detail::absmax_of(w, n);
  const detail::BlockScaler scale(absmax);
  constexpr std::int64_t piece = 64;  // bounds outside, weights inside: a loop without branches that can be vectorised
  for (std::int64_t first = 0; first < n; first += piece) {
    const std::int64_t count = std::min(piece, n - first);
    float scaled[piece] = {};
    std::int32_t rank[piece] = {};
    for (std::int64_t i = 0; i < count; ++i) scaled[i] = scale(static_cast<float>(w[first + i]));
    for (const float bound : code.bounds)
      for (std::int64_t i = 0; i < piece; ++i) rank[i] += scaled[i] > bound;
    for (std::int64_t i = 0; i < count; i += 2) {
      const unsigned high = code.order[static_cast<std::size_t>(rank[i])],
                     low = code.order[static_cast<std::size_t>(rank[i + 1])];
      packed[(first + i) / 2] = static_cast<std::uint8_t>(high << 4 | low);
    }
  }
}

// w: count weights -> packed: (count + 1) / 2 bytes, absmax: ceil(count / block_size). block_size is even.
template <class T>
void quantize_4bit(const FourBitCode& code, const T* w, std::int64_t count, std::int64_t block_size,
                   std::uint8_t* packed, float* absmax) noexcept {
  for (std::int64_t b = 0; b * block_size < count; ++b) {
    const std::int64_t first = b * block_size;
    quantize_4bit_block(code, w + first, std::min(block_size, count - first), packed + first / 2, absmax[b]);
  }
}

// Elements [first, first + count) of the flattened tensor -> out: (count). Any `first`: a range may start within a
// byte.
template <class T>
void dequantize_4bit(const FourBitCode& code, const std::uint8_t* packed, const BlockScales& scales,
                     std::int64_t block_size, std::int64_t first, std::int64_t count, T* out) noexcept {
  for (std::int64_t i = first; i < first + count;) {
    const std::int64_t block = i / block_size, end = std::min((block + 1) * block_size, first + count);
    const float absmax = scales[block];
    for (; i < end; ++i) {
      const unsigned q = i % 2 == 0 ? unsigned{packed[i / 2]} >> 4 : packed[i / 2] & 15u;
      out[i - first] = T(code.values[q] * absmax);
    }
  }
}

// The code of a number in [-1, 1]. As bitsandbytes on the CPU: the level nearest to the middle of its cell, of 65,536
// cells, so that a zero in a block that has other numbers becomes 2.1e-5 of the largest.
inline std::uint8_t dynamic_code_of(float scaled) noexcept {
  const auto cell = static_cast<std::int32_t>((scaled + 1.0f) * 32767.5f + 0.5f);
  const double middle = cell / 32767.5 - 1.0;
  std::size_t rank = 0;  // of 255 midpoints, how many lie below: binary search over 256 ranks
  for (std::size_t step = 128; step > 0; step /= 2) {
    const std::size_t probe = rank + step;
    if ((double{dynamic_code[probe - 1]} + double{dynamic_code[probe]}) / 2 < middle) rank = probe;
  }
  return static_cast<std::uint8_t>(rank);
}

// w: n numbers of one block, each less `offset` -> n codes and the largest magnitude. All zero gives codes 0.
template <class T>
void quantize_dynamic8_block(const T* w, std::int64_t n, float offset, std::uint8_t* codes, float& absmax) noexcept {
  absmax = 0;
  for (std::int64_t i = 0; i < n; ++i) absmax = std::max(absmax, std::abs(static_cast<float>(w[i]) - offset));
  const detail::BlockScaler scale(absmax);
  for (std::int64_t i = 0; i < n; ++i)
    codes[i] = absmax == 0 ? std::uint8_t{0} : dynamic_code_of(scale(static_cast<float>(w[i]) - offset));
}

// w: count numbers -> codes: (count), absmax: ceil(count / block_size).
template <class T>
void quantize_dynamic8(const T* w, std::int64_t count, std::int64_t block_size, std::uint8_t* codes,
                       float* absmax) noexcept {
  for (std::int64_t b = 0; b * block_size < count; ++b) {
    const std::int64_t first = b * block_size;
    quantize_dynamic8_block(w + first, std::min(block_size, count - first), 0.0f, codes + first, absmax[b]);
  }
}

template <class T>
void dequantize_dynamic8(const std::uint8_t* codes, const float* absmax, std::int64_t block_size, std::int64_t first,
                         std::int64_t count, T* out) noexcept {
  for (std::int64_t i = first; i < first + count; ++i)
    out[i - first] = T(dynamic_code[codes[i]] * absmax[i / block_size]);
}

// Double quantisation of `blocks` scales -> codes: (blocks), nested_absmax: ceil(blocks / 256), offset: their mean,
// which is summed in double (torch's own f32 mean depends on the machine's vector width in its last bit).
inline void quantize_scales(const float* absmax, std::int64_t blocks, std::uint8_t* codes, float* nested_absmax,
                            float& offset) noexcept {
  double sum = 0;
  for (std::int64_t b = 0; b < blocks; ++b) sum += double{absmax[b]};
  offset = blocks > 0 ? static_cast<float>(sum / static_cast<double>(blocks)) : 0.0f;
  for (std::int64_t b = 0; b < blocks; b += nested_block_size)
    quantize_dynamic8_block(absmax + b, std::min(nested_block_size, blocks - b), offset, codes + b,
                            nested_absmax[b / nested_block_size]);
}

// One output row of n weights -> codes in [-127, 127], rounded half to even, and the row's absmax.
template <class T>
void quantize_int8_row(const T* w, std::int64_t n, std::int8_t* codes, float& absmax) noexcept {
  absmax = detail::absmax_of(w, n);
  const bool divides = absmax < 1e-36f;  // 127 / absmax would overflow
  // torch divides a number by a tensor as reciprocal times number. Above 1e37 the reciprocal could be flushed to zero.
  const float factor = divides ? 0.0f : absmax > 1e37f ? 127.0f / absmax : 1.0f / absmax * 127.0f;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto x = static_cast<float>(w[i]);
    const float scaled = absmax == 0 ? 0.0f : divides ? x / absmax * 127.0f : x * factor;
    // Adding 1.5 * 2^23 leaves no bits for the fraction: rounds half to even without a call per weight.
    const float rounded = std::min(std::max(-127.0f, scaled), 127.0f) + 12582912.0f;
    codes[i] = static_cast<std::int8_t>(rounded - 12582912.0f);
  }
}

template <class T>
void dequantize_int8_row(const std::int8_t* codes, float absmax, std::int64_t n, T* out) noexcept {
  // In this order the largest code gives absmax itself, and the largest finite absmax does not overflow.
  for (std::int64_t i = 0; i < n; ++i) out[i] = T(static_cast<float>(codes[i]) / 127.0f * absmax);
}

// w: n >= 1 weights of one group -> codes in [0, 15], one a byte, rounded half to even, and the group's scale and zero.
// The step is the range / 15, the zero point not rounded. A group that has one value has it exactly.
template <class T>
void quantize_affine_group(const T* w, std::int64_t n, std::uint8_t* codes, float& scale, float& zero) noexcept {
  float low = static_cast<float>(w[0]), high = low;
  for (std::int64_t i = 1; i < n; ++i) {
    low = std::min(low, static_cast<float>(w[i]));
    high = std::max(high, static_cast<float>(w[i]));
  }
  scale = high / 15 - low / 15;  // the range itself could overflow
  if (scale < 1e-36f) {          // nothing between them, or less than a reciprocal may be taken of
    scale = low;
    zero = -1;
    std::fill_n(codes, n, std::uint8_t{0});
    return;
  }
  zero = -low / scale;
  const bool divides = scale > 1e37f;  // the reciprocal could be flushed to zero, x - low could overflow
  if (divides) scale *= 1 - 0x1p-22f;  // and so could the values of codes 0 and 15
  for (std::int64_t i = 0; i < n; ++i) {
    const auto x = static_cast<float>(w[i]);
    const float place = (divides ? x / scale + zero : (x - low) * (1 / scale)) + 12582912.0f;
    codes[i] = static_cast<std::uint8_t>(std::min(std::max(0.0f, place - 12582912.0f), 15.0f));
  }
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
