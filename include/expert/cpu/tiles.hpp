// The tile registers of AMX, and an emulation of them that runs anywhere. See pair_kernels.inc for what tiles hold.
//
// AMX goes through our own assembly: g++ 12's _tile_loadconfig reads 8 bytes of the 64, so that the stores before it
// are dropped, and its loads are no memory operands. The instructions need no target flag in this way.
#pragma once
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"

namespace expert {
inline namespace v0 {
namespace isa {

// Where the tiles of a matrix lie: row r of tile (low half, next) begins at data + low * half + next * i + stride * r,
// counted in dwords.
struct TileLayout {
  std::int64_t stride, next, low;
};
inline constexpr TileLayout packed_rows{16, 512, 256};  // of A, as pack_pair_rows leaves them
inline constexpr TileLayout packed_sums{16, 256, 512};  // blocks of 32 x 32

// The eight tile registers of 16 rows x 64 bytes, in memory, with the arithmetic of tdpbf16ps: even and odd k are added
// up apart and meet in the sum once a tile.
class EmulatedTiles {
 public:
  template <int T>
  void zero() noexcept {
    for (std::uint32_t& x : tiles_[T]) x = 0;
  }
  template <int T>
  void load(const std::uint32_t* from, std::int64_t stride) noexcept {
    for (int r = 0; r < 16; ++r) __builtin_memcpy(tiles_[T] + 16 * r, from + stride * r, 64);
  }
  template <int T>
  void load_passing(const std::uint32_t* from, std::int64_t stride) noexcept {
    load<T>(from, stride);
  }
  template <int T>
  void store(float* to, std::int64_t stride) const noexcept {
    for (int r = 0; r < 16; ++r) __builtin_memcpy(to + stride * r, tiles_[T] + 16 * r, 64);
  }
  template <int C, int A, int B>
  void multiply() noexcept {
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 16; ++n) {
        float even = 0, odd = 0;
        for (int q = 0; q < 16; ++q) {
          const std::uint32_t a = tiles_[A][16 * m + q], b = tiles_[B][16 * q + n];
          even += number(a << 16) * number(b << 16);
          odd += number(a & 0xffff0000u) * number(b & 0xffff0000u);
        }
        const float sum = number(tiles_[C][16 * m + n]) + (even + odd);
        __builtin_memcpy(&tiles_[C][16 * m + n], &sum, sizeof sum);
      }
  }

 private:
  static float number(std::uint32_t bits) noexcept { return std::bit_cast<float>(bits); }
  std::uint32_t tiles_[8][256];
};

#if defined(__x86_64__)
// While one lives, the thread's tiles are configured as 16 rows x 64 bytes each.
class HardwareTiles {
 public:
  HardwareTiles() noexcept {
    struct alignas(64) Config {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    };
    static constexpr Config config;
    __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory");
  }
  ~HardwareTiles() { __asm__ volatile("tilerelease" : : : "memory"); }
  HardwareTiles(const HardwareTiles&) = delete;
  HardwareTiles& operator=(const HardwareTiles&) = delete;

  template <int T>
  void zero() const noexcept {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(T));
  }
  template <int T>
  void load(const std::uint32_t* from, std::int64_t stride) const noexcept {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(4 * stride), "i"(T) : "memory");
  }
  // The same with a hint that first-level cache is better kept for others.
  template <int T>
  void load_passing(const std::uint32_t* from, std::int64_t stride) const noexcept {
    __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(4 * stride), "i"(T) : "memory");
  }
  template <int T>
  void store(float* to, std::int64_t stride) const noexcept {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(4 * stride), "i"(T) : "memory");
  }
  template <int C, int A, int B>
  void multiply() const noexcept {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
};
#endif

}  // namespace isa
}  // namespace v0
}  // namespace expert
