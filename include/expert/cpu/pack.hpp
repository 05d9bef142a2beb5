// Weights as a checkpoint or a quantiser has them -> the packed layout of ops/packed.hpp, strip by strip over the pool.
// Each strip is written once by one thread and nothing is kept besides source and target.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "expert/cpu/ops.hpp"
#include "expert/ops/packed.hpp"

namespace expert {
inline namespace v0 {

namespace detail {

// f(strip, codes of the strip, scales, zeros) for every strip, its codes zeroed before.
template <class F>
void over_strips(Cpu& cpu, const PackedMatrix& m, std::byte* memory, F&& f) noexcept {
  float* scales = reinterpret_cast<float*>(memory + m.code_bytes());
  float* zeros = scales + aligned(m.scale_count() * std::int64_t{sizeof(float)}) / std::int64_t{sizeof(float)};
  const std::int64_t per_strip = m.groups() * PackedMatrix::strip_columns;
  cpu.pool->parallel_for(m.strips(), [&](std::int64_t s, int) noexcept {
    std::byte* codes = memory + s * m.strip_bytes();
    std::fill_n(codes, m.strip_bytes(), std::byte{0});
    f(s, codes, scales + s * per_strip, zeros + s * per_strip);
  });
}

inline std::uint32_t load_dword(const std::uint8_t* p) noexcept {
  std::uint32_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

// Row n of codes as quantize_4bit leaves them (high nibble first, through the flattened matrix) -> column i of a strip.
inline void pack_nibbles(const std::uint8_t* packed, std::int64_t n, std::int64_t in, std::int64_t i,
                         std::byte* codes) noexcept {
  const std::int64_t first = n * in;
  for (std::int64_t k = 0; k < in; k += 8) {
    std::uint32_t eight = 0;
    if (first % 2 == 0 && k + 8 <= in) {
      eight = load_dword(packed + (first + k) / 2);  // x86 and ARM are little endian
      eight = (eight & 0x0f0f0f0fu) << 4 | (eight >> 4 & 0x0f0f0f0fu);
    } else {
      for (std::int64_t p = 0; p < std::min<std::int64_t>(8, in - k); ++p) {
        const std::int64_t at = first + k + p;
        const unsigned q = at % 2 == 0 ? unsigned{packed[at / 2]} >> 4 : packed[at / 2] & 15u;
        eight |= q << (4 * p);
      }
    }
    std::memcpy(codes + k / 8 * 64 + 4 * i, &eight, sizeof eight);
  }
}

// Scale (and zero) of every group and column of a strip; columns beyond the matrix get 0.
template <class F>
void pack_scales(const PackedMatrix& m, std::int64_t s, float* to, F&& scale_of) noexcept {
  for (std::int64_t g = 0; g < m.groups(); ++g)
    for (std::int64_t i = 0; i < 16; ++i) to[g * 16 + i] = s * 16 + i < m.out ? scale_of(s * 16 + i, g) : 0.0f;
}

}  // namespace detail

// memory: m.packed_bytes(), m from packed_shape(nf4, out, in, block_size). packed, scales: as quantize_4bit and
// quantize_scales leave them.
inline void pack_nf4(Cpu& cpu, const PackedMatrix& m, const std::uint8_t* packed, const BlockScales& block_scales,
                     std::int64_t block_size, std::byte* memory) noexcept {
  detail::over_strips(cpu, m, memory, [&](std::int64_t s, std::byte* codes, float* scales, float*) noexcept {
    for (std::int64_t i = 0; i < std::min<std::int64_t>(16, m.out - s * 16); ++i)
      detail::pack_nibbles(packed, s * 16 + i, m.in, i, codes);
    detail::pack_scales(m, s, scales, [&](std::int64_t n, std::int64_t g) {
      return block_scales[(n * m.in + (g << m.group_shift)) / block_size];
    });
  });
}

// m from packed_shape(int4_affine, out, in, group). packed: (out, in) codes, the high nibble first through the
// flattened matrix; row_scales, row_zeros: (out, ceil(in / group)).
inline void pack_int4_affine(Cpu& cpu, const PackedMatrix& m, const std::uint8_t* packed, const float* row_scales,
                             const float* row_zeros, std::int64_t group, std::byte* memory) noexcept {
  const std::int64_t row_groups = (m.in + group - 1) / group;
  detail::over_strips(cpu, m, memory, [&](std::int64_t s, std::byte* codes, float* scales, float* zeros) noexcept {
    for (std::int64_t i = 0; i < std::min<std::int64_t>(16, m.out - s * 16); ++i)
      detail::pack_nibbles(packed, s * 16 + i, m.in, i, codes);
    const auto at = [&](std::int64_t n, std::int64_t g) { return n * row_groups + (g << m.group_shift) / group; };
    detail::pack_scales(m, s, scales, [&](std::int64_t n, std::int64_t g) { return row_scales[at(n, g)]; });
    detail::pack_scales(m, s, zeros, [&](std::int64_t n, std::int64_t g) { return row_zeros[at(n, g)]; });
  });
}

// m from packed_shape(int8, out, in). codes: (out, in), row_absmax: (out), as quantize_int8_row leaves them.
inline void pack_int8(Cpu& cpu, const PackedMatrix& m, const std::int8_t* row_codes, const float* row_absmax,
                      std::byte* memory) noexcept {
  detail::over_strips(cpu, m, memory, [&](std::int64_t s, std::byte* codes, float* scales, float*) noexcept {
    for (std::int64_t i = 0; i < std::min<std::int64_t>(16, m.out - s * 16); ++i)
      for (std::int64_t k = 0; k < m.in; ++k)
        codes[16 * k + i] = static_cast<std::byte>(row_codes[(s * 16 + i) * m.in + k]);
    detail::pack_scales(m, s, scales, [&](std::int64_t n, std::int64_t) { return row_absmax[n]; });
  });
}

// m from packed_shape(bf16, out, in). w: (out, in) at any alignment.
inline void pack_bf16(Cpu& cpu, const PackedMatrix& m, const void* w, std::byte* memory) noexcept {
  const auto* rows = static_cast<const std::byte*>(w);
  detail::over_strips(cpu, m, memory, [&](std::int64_t s, std::byte* codes, float*, float*) noexcept {
    for (std::int64_t i = 0; i < std::min<std::int64_t>(16, m.out - s * 16); ++i) {
      const std::byte* row = rows + (s * 16 + i) * m.in * 2;
      for (std::int64_t k = 0; k < m.in; k += 2) std::memcpy(codes + 32 * k + 4 * i, row + 2 * k, k + 1 < m.in ? 4 : 2);
    }
  });
}

}  // namespace v0
}  // namespace expert
