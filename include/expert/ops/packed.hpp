// packed: a weight matrix W (out, in) in the layout that products read, one layout for all instruction sets.
//   strips of 16 rows of W (columns of y), blocks of 8 numbers of k (of `in`); within a block column i, k = 8 b + p:
//   nf4, int4_affine   64 bytes: nibble p of dword i, the lowest first
//   int8               128 bytes: byte 16 p + i
//   bf16               256 bytes: number 32 (p / 2) + 2 i + p % 2, pairs of k side by side as a tile of AMX has them
//   scales, zeros      (strips, groups, 16) f32, a group being 2^group_shift numbers of k; int8 has one group
//   value              nf4: nf4_code[q] * scale;  int4_affine: (q - zero) * scale;  int8: q / 127 * scale
// Rows and blocks beyond the matrix are there and hold values that are finite; products do not use them.
#pragma once
#include <cstddef>
#include <cstdint>

#include "expert/core/arena.hpp"
#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"
#include "expert/ops/quantize.hpp"

namespace expert {
inline namespace v0 {

enum class PackedFormat : std::uint8_t { nf4, int4_affine, int8, bf16 };

// The codes' own values, which a nibble chooses from.
alignas(64) inline constexpr float affine_levels[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
alignas(64) inline constexpr std::array<float, 16> nf4_levels = nf4_code.values;

// Non-owning. `codes`, `scales` and `zeros` lie behind each other in one block of packed_bytes(); 64-byte alignment of
// it is for speed alone.
struct PackedMatrix {
  const std::byte* codes = nullptr;
  const float *scales = nullptr, *zeros = nullptr;
  std::int64_t out = 0, in = 0;
  int group_shift = 0;
  PackedFormat format = PackedFormat::bf16;

  static constexpr std::int64_t strip_columns = 16, block_depth = 8;

  constexpr std::int64_t strips() const { return (out + strip_columns - 1) / strip_columns; }
  // bf16 is read in tiles of 32 k.
  constexpr std::int64_t blocks() const {
    return format == PackedFormat::bf16 ? (in + 31) / 32 * 4 : (in + block_depth - 1) / block_depth;
  }
  constexpr std::int64_t block_bytes() const {
    return format == PackedFormat::bf16 ? 256 : format == PackedFormat::int8 ? 128 : 64;
  }
  constexpr std::int64_t strip_bytes() const { return blocks() * block_bytes(); }
  constexpr std::int64_t groups() const {
    if (format == PackedFormat::bf16) return 0;
    return format == PackedFormat::int8 ? 1 : (in + (std::int64_t{1} << group_shift) - 1) >> group_shift;
  }
  constexpr std::int64_t code_bytes() const { return strips() * strip_bytes(); }
  constexpr std::int64_t scale_count() const { return strips() * groups() * strip_columns; }
  constexpr std::int64_t packed_bytes() const {
    const std::int64_t scale_bytes = aligned(scale_count() * std::int64_t{sizeof(float)});
    return code_bytes() + scale_bytes * (format == PackedFormat::int4_affine ? 2 : 1);
  }
  // Whether a block of 8 k has one scale: all but matrices whose width is not a multiple of 8.
  constexpr bool whole_blocks() const { return format >= PackedFormat::int8 || group_shift >= 3; }

  void place(const std::byte* memory) noexcept {
    codes = memory;
    scales = reinterpret_cast<const float*>(memory + code_bytes());
    zeros = format == PackedFormat::int4_affine ? scales + aligned(scale_count() * std::int64_t{sizeof(float)}) / 4
                                                : nullptr;
  }
};

namespace detail {
// log2 of the largest power of two that divides x, at most `most`.
constexpr int shift_of_power_in(std::int64_t x, int most) {
  int shift = 0;
  while (shift < most && (x >> shift) % 2 == 0) ++shift;
  return shift;
}
}  // namespace detail

// The shape of a packed matrix before it has memory. `block_size` is nf4's, `group` int4_affine's: numbers of a row
// from its beginning that share a scale. Blocks of nf4 count through the flattened tensor and may begin inside a row;
// a group is then what divides both, so that it lies in one block.
constexpr PackedMatrix packed_shape(PackedFormat format, std::int64_t out, std::int64_t in, std::int64_t group = 0) {
  PackedMatrix m;
  m.out = out;
  m.in = in;
  m.format = format;
  constexpr int whole_row = 62;
  m.group_shift = whole_row;
  if (format == PackedFormat::nf4)
    m.group_shift = detail::shift_of_power_in(in, detail::shift_of_power_in(group, whole_row));
  else if (format == PackedFormat::int4_affine)
    m.group_shift = detail::shift_of_power_in(group, whole_row);
  return m;
}

namespace reference {

// W[n][k] of a packed matrix, n < 16 * strips, k < 8 * blocks. The oracle of the kernels, and their path for matrices
// without whole blocks.
inline float packed_value(const PackedMatrix& m, std::int64_t n, std::int64_t k) noexcept {
  const std::int64_t strip = n / 16, i = n % 16, p = k % 8;
  const std::byte* block = m.codes + strip * m.strip_bytes() + k / 8 * m.block_bytes();
  const std::int64_t at = (strip * m.groups() + (m.format == PackedFormat::bf16 ? 0 : k >> m.group_shift)) * 16 + i;
  const auto nibble = [&] { return static_cast<unsigned>(block[4 * i + p / 2] >> (4 * (p % 2))) & 15u; };
  switch (m.format) {
    case PackedFormat::nf4:
      return nf4_levels[nibble()] * m.scales[at];
    case PackedFormat::int4_affine:
      return (affine_levels[nibble()] - m.zeros[at]) * m.scales[at];
    case PackedFormat::int8:
      return static_cast<float>(static_cast<std::int8_t>(block[16 * p + i])) / 127.0f * m.scales[at];
    case PackedFormat::bf16: {
      const std::byte* number = block + 2 * (32 * (p / 2) + 2 * i + p % 2);
      return bf16::from_bits(
          static_cast<std::uint16_t>(static_cast<unsigned>(number[0]) | static_cast<unsigned>(number[1]) << 8));
    }
  }
  return 0;
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
