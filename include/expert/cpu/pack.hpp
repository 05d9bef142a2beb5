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

// f(strip, codes of the strip, scales, zeros, thread) for every strip, its codes zeroed before.
template <class F>
void over_strips(Cpu& cpu, const PackedMatrix& m, std::byte* memory, F&& f) noexcept {
  float* scales = reinterpret_cast<float*>(memory + m.code_bytes());
  float* zeros = scales + aligned(m.scale_count() * std::int64_t{sizeof(float)}) / std::int64_t{sizeof(float)};
  const std::int64_t per_strip = m.groups() * PackedMatrix::strip_columns;
  cpu.pool->parallel_for(m.strips(), [&](std::int64_t s, int thread) noexcept {
    std::byte* codes = memory + s * m.strip_bytes();
    std::fill_n(codes, m.strip_bytes(), std::byte{0});
    f(s, codes, scales + s * per_strip, zeros + s * per_strip, thread);
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
  detail::over_strips(cpu, m, memory, [&](std::int64_t s, std::byte* codes, float* scales, float*, int) noexcept {
    for (std::int64_t i = 0; i < std::min<std::int64_t>(16, m.out - s * 16); ++i)
      detail::pack_nibbles(packed, s * 16 + i, m.in, i, codes);
    detail::pack_scales(m, s, scales, [&](std::int64_t n, std::int64_t g) {
      return block_scales[(n * m.in + (g << m.group_shift)) / block_size];
    });
  });
}

// m from packed_shape(int4_affine, out, in, group). group_of(n, first, codes, scale, zero, thread): codes, one a byte,
// scale and zero of the group of row n that begins at `first`, as quantize_affine_group leaves them. group: at most
// op_workspace_floats, or a row.
template <class GroupOf>
void pack_int4_affine(Cpu& cpu, const PackedMatrix& m, std::int64_t group, GroupOf&& group_of,
                      std::byte* memory) noexcept {
  detail::over_strips(
      cpu, m, memory, [&](std::int64_t s, std::byte* codes, float* scales, float* zeros, int thread) noexcept {
        auto* one_a_byte = reinterpret_cast<std::uint8_t*>(cpu.gemm_workspace(thread));
        std::fill_n(scales, m.groups() * 16, 0.0f);
        std::fill_n(zeros, m.groups() * 16, 0.0f);
        for (std::int64_t i = 0; i < std::min<std::int64_t>(16, m.out - s * 16); ++i)
          for (std::int64_t first = 0; first < m.in; first += group) {
            const std::int64_t end = std::min(first + group, m.in);
            float scale, zero;
            group_of(s * 16 + i, first, one_a_byte, scale, zero, thread);
            for (std::int64_t k = first; k < end; ++k)
              codes[k / 8 * 64 + 4 * i + k % 8 / 2] |= static_cast<std::byte>(one_a_byte[k - first] << (k % 2 * 4));
            // A group of the matrix may be several of the packed one, which has powers of two.
            for (std::int64_t g = first >> m.group_shift; g << m.group_shift < end; ++g) {
              scales[g * 16 + i] = scale;
              zeros[g * 16 + i] = zero;
            }
          }
      });
}

// m from packed_shape(int8, out, in). row_of(n, absmax, thread) -> the codes (in) of row n, as quantize_int8_row leaves
// them, valid until that thread's next call.
template <class RowOf>
void pack_int8(Cpu& cpu, const PackedMatrix& m, RowOf&& row_of, std::byte* memory) noexcept {
  detail::over_strips(cpu, m, memory,
                      [&](std::int64_t s, std::byte* codes, float* scales, float*, int thread) noexcept {
                        std::fill_n(scales, 16, 0.0f);
                        for (std::int64_t i = 0; i < std::min<std::int64_t>(16, m.out - s * 16); ++i) {
                          const std::int8_t* row = row_of(s * 16 + i, scales[i], thread);
                          for (std::int64_t k = 0; k < m.in; ++k) codes[16 * k + i] = static_cast<std::byte>(row[k]);
                        }
                      });
}

// m from packed_shape(bf16, out, in). w: (out, in) at any alignment.
inline void pack_bf16(Cpu& cpu, const PackedMatrix& m, const void* w, std::byte* memory) noexcept {
  const auto* rows = static_cast<const std::byte*>(w);
  detail::over_strips(cpu, m, memory, [&](std::int64_t s, std::byte* codes, float*, float*, int) noexcept {
    for (std::int64_t i = 0; i < std::min<std::int64_t>(16, m.out - s * 16); ++i) {
      const std::byte* row = rows + (s * 16 + i) * m.in * 2;
      for (std::int64_t k = 0; k < m.in; k += 2) std::memcpy(codes + 32 * k + 4 * i, row + 2 * k, k + 1 < m.in ? 4 : 2);
    }
  });
}

}  // namespace v0
}  // namespace expert
