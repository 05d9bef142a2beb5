// Random matrices in each packed format with their numbers by the reference, and operands at awkward addresses.
#pragma once
#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

#include "expert/cpu/instances.hpp"
#include "expert/cpu/pack.hpp"
#include "expert/cpu/packed_linear.hpp"

namespace expert::tests {

// Uniform in [-1, 1); a linear congruential generator, because the library's own would be most of the running time.
struct Random {
  std::uint64_t state;
  std::uint32_t bits() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>(state >> 33);
  }
  float number() { return static_cast<float>(bits()) * 0x1p-30f - 1.0f; }
};
template <class T>
std::vector<T> random_values(std::int64_t n, std::uint64_t seed) {
  Random random{seed};
  std::vector<T> v(static_cast<std::size_t>(n));
  for (T& x : v) x = T(random.number());
  return v;
}
inline std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

// A matrix, packed, and its numbers by the reference of its format.
struct Sample {
  PackedMatrix packed;
  std::vector<float> dense;
  std::vector<AlignedBytes> memory;
};

constexpr std::string_view name_of_format(PackedFormat f) {
  constexpr std::string_view names[] = {"nf4", "int4_affine", "int8", "bf16"};
  return names[static_cast<std::size_t>(f)];
}

// NF4 double quantised in blocks of 64, affine groups of 32, weights whose rows differ in size.
inline Sample sample(Cpu& cpu, PackedFormat format, std::int64_t out, std::int64_t in) {
  Sample s;
  std::vector<float> w = random_values<float>(out * in, 7);
  for (std::int64_t i = 0; i < out * in; ++i) w[index(i)] *= 1.0f + 0.1f * static_cast<float>(i / in % 7);
  s.dense.resize(w.size());
  const auto shaped = [&](std::int64_t group) {
    s.packed = packed_shape(format, out, in, group);
    s.memory.emplace_back(s.packed.packed_bytes());
    s.packed.place(s.memory.back().data());
    return s.memory.back().data();
  };
  if (format == PackedFormat::nf4) {
    const std::int64_t blocks = (out * in + 63) / 64;
    std::vector<std::uint8_t> codes(index((out * in + 1) / 2)), scale_codes(index(blocks));
    std::vector<float> absmax(index(blocks)), nested(index((blocks + 255) / 256));
    BlockScales scales{nullptr, scale_codes.data(), nested.data(), 0};
    reference::quantize_4bit(nf4_code, w.data(), out * in, 64, codes.data(), absmax.data());
    reference::quantize_scales(absmax.data(), blocks, scale_codes.data(), nested.data(), scales.offset);
    reference::dequantize_4bit(nf4_code, codes.data(), scales, 64, 0, out * in, s.dense.data());
    pack_nf4(cpu, s.packed, codes.data(), scales, 64, shaped(64));
  } else if (format == PackedFormat::int4_affine) {
    const std::int64_t group = 32, groups = (in + group - 1) / group;
    Random random{3};
    std::vector<std::uint8_t> codes(index((out * in + 1) / 2));
    for (auto& byte : codes) byte = static_cast<std::uint8_t>(random.bits());
    auto scales = random_values<float>(out * groups, 4), zeros = random_values<float>(out * groups, 5);
    for (float& z : zeros) z = std::floor(8 + 8 * z);
    for (std::int64_t n = 0; n < out; ++n)
      for (std::int64_t k = 0; k < in; ++k) {
        const std::int64_t at = n * in + k, g = n * groups + k / group;
        const unsigned q = at % 2 == 0 ? unsigned{codes[index(at / 2)]} >> 4 : codes[index(at / 2)] & 15u;
        s.dense[index(at)] = (static_cast<float>(q) - zeros[index(g)]) * scales[index(g)];
      }
    std::byte* memory = shaped(group);
    const auto group_of = [&](std::int64_t n, std::int64_t first, std::uint8_t* to, float& scale, float& zero,
                              int) noexcept {
      scale = scales[index(n * groups + first / group)];
      zero = zeros[index(n * groups + first / group)];
      for (std::int64_t at = n * in + first; at < n * in + std::min(first + group, in); ++at)
        *to++ = at % 2 == 0 ? codes[index(at / 2)] >> 4 : codes[index(at / 2)] & 15u;
    };
    pack_int4_affine(cpu, s.packed, group, group_of, memory);
  } else if (format == PackedFormat::int8) {
    std::vector<std::int8_t> codes(w.size());
    std::vector<float> absmax(index(out));
    for (std::int64_t n = 0; n < out; ++n) {
      reference::quantize_int8_row(&w[index(n * in)], in, &codes[index(n * in)], absmax[index(n)]);
      reference::dequantize_int8_row(&codes[index(n * in)], absmax[index(n)], in, &s.dense[index(n * in)]);
    }
    std::byte* memory = shaped(0);
    const auto row_of = [&](std::int64_t n, float& scale, int) noexcept {
      scale = absmax[index(n)];
      return &codes[index(n * in)];
    };
    pack_int8(cpu, s.packed, row_of, memory);
  } else {
    const std::vector<bf16> narrow(w.begin(), w.end());
    std::vector<std::byte> unaligned(narrow.size() * 2 + 1);
    std::memcpy(unaligned.data() + 1, narrow.data(), narrow.size() * 2);
    s.dense.assign(narrow.begin(), narrow.end());
    pack_bf16(cpu, s.packed, unaligned.data() + 1, shaped(0));
  }
  return s;
}

inline constexpr PackedFormat formats[] = {PackedFormat::nf4, PackedFormat::int4_affine, PackedFormat::int8,
                                           PackedFormat::bf16};

// The products for a format that is known at run time only.
template <class F>
void with_format(PackedFormat format, F&& f) {
  switch (format) {
    case PackedFormat::nf4:
      return f(std::integral_constant<PackedFormat, PackedFormat::nf4>{});
    case PackedFormat::int4_affine:
      return f(std::integral_constant<PackedFormat, PackedFormat::int4_affine>{});
    case PackedFormat::int8:
      return f(std::integral_constant<PackedFormat, PackedFormat::int8>{});
    case PackedFormat::bf16:
      return f(std::integral_constant<PackedFormat, PackedFormat::bf16>{});
  }
}
template <class T, class TY>
void forward_of(Cpu& cpu, std::int64_t rows, const PackedMatrix& w, const T* x, std::int64_t ldx, TY* y,
                std::int64_t ldy) {
  with_format(w.format, [&](auto format) { packed_forward<format()>(cpu, rows, w, x, ldx, y, ldy); });
}
template <class T, class TX>
void backward_of(Cpu& cpu, std::int64_t rows, const PackedMatrix& w, const T* d_y, std::int64_t ld_dy, bool accumulate,
                 TX* d_x, std::int64_t ld_dx) {
  with_format(w.format,
              [&](auto format) { packed_backward_input<format()>(cpu, rows, w, d_y, ld_dy, accumulate, d_x, ld_dx); });
}

struct Shape {
  std::int64_t out, in;
};
// One number, narrower than a block, NF4 blocks that begin inside rows, tails of strips and of blocks, several blocks
// of gemm.
inline constexpr Shape shapes[] = {{1, 1},   {5, 33},   {17, 70},   {33, 96},  {18, 48},
                                   {64, 64}, {48, 288}, {515, 160}, {70, 1096}};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// rows x (in or out) numbers, `pad` more between rows, from an address that is aligned to nothing but T.
template <class T>
struct Operand {
  std::vector<T> numbers;
  std::int64_t ld;
  Operand(std::int64_t rows, std::int64_t cols, std::int64_t pad, std::uint64_t seed)
      : numbers(random_values<T>(rows * (cols + pad) + 1, seed)), ld(cols + pad) {}
  T* data() { return numbers.data() + 1; }
};

}  // namespace expert::tests
