// Counter-based random numbers: the value depends on the key and the counter only, so thread count and order cannot
// matter and a checkpoint has no generator state to lose. Philox4x32-10 (Salmon et al., SC'11).
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

enum class Purpose : std::uint32_t { init_lora_a, dropout, shuffle, sample, random_base, augment };

inline constexpr int philox_rounds = 10;
inline constexpr std::uint32_t philox_multipliers[2] = {0xD2511F53u, 0xCD9E8D57u},
                               philox_key_steps[2] = {0x9E3779B9u, 0xBB67AE85u};

EXPERT_HOST_DEVICE constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c, std::uint64_t key) {
  auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < philox_rounds; ++round) {
    const std::uint64_t p0 = std::uint64_t{philox_multipliers[0]} * c[0],
                        p1 = std::uint64_t{philox_multipliers[1]} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += philox_key_steps[0];
    k1 += philox_key_steps[1];
  }
  return c;
}

// The stream that belongs to (seed, step, layer, purpose); `bits(i)` is its i-th value. Four of them are a block.
class RandomStream {
 public:
  constexpr RandomStream(std::uint64_t seed, Purpose purpose, std::uint32_t step = 0, std::uint32_t layer = 0)
      : seed_(seed), step_(step), tag_(layer * 64u + static_cast<std::uint32_t>(purpose)) {}
  constexpr std::array<std::uint32_t, 4> counter(std::uint64_t block) const {
    return {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), step_, tag_};
  }
  constexpr std::uint64_t key() const { return seed_; }
  constexpr std::uint32_t bits(std::uint64_t i) const { return philox(counter(i >> 2), seed_)[i & 3]; }
  constexpr float uniform(std::uint64_t i) const { return static_cast<float>(bits(i) >> 8) * 0x1p-24f; }  // [0, 1)
  double normal(std::uint64_t i) const {                                                                  // Box-Muller
    const double u = (static_cast<double>(bits(2 * i)) + 0.5) * 0x1p-32,
                 v = static_cast<double>(bits(2 * i + 1)) * 0x1p-32;
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
  }
  // Unbiased enough for shuffles: n is far below 2^32 (Lemire's multiply-shift).
  constexpr std::uint32_t below(std::uint64_t i, std::uint32_t n) const {
    return static_cast<std::uint32_t>((std::uint64_t{bits(i)} * n) >> 32);
  }

 private:
  std::uint64_t seed_;
  std::uint32_t step_, tag_;
};

}  // namespace v0
}  // namespace expert
