// Policies of slot `rope`: (rope_theta, head_dim, context length) -> the table of inverse frequencies and the factor
// that multiplies cos and sin. The angle of position p in pair i is p * inv_freq[i].
//
// All but RopeNtkByParts equal the function of the same rope_type in transformers' modeling_rope_utils.py (5.23), in
// its order of f32 operations, so that tables agree to the last bits: at position 65535 one part in 10^7 is 0.006
// radians.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <string_view>

#include "expert/core/ratio.hpp"
#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {
namespace detail {

// inv_freq[i] = 1 / base^(2 i / head_dim) in f32: Qwen3RotaryEmbedding.compute_default_rope_parameters.
inline void plain_inv_freq(std::span<float> out, double base, std::int64_t head_dim) {
  const auto dim = static_cast<float>(head_dim);
  const double b = static_cast<float>(base);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / dim;
    out[i] = 1.0f / static_cast<float>(std::pow(b, double{exponent}));
  }
}

}  // namespace detail

// The model's own frequencies. transformers: rope_type "default".
struct RopeDefault {
  using slot = slots::rope;
  static constexpr std::string_view type = "default";
  static constexpr auto describe() { return std::array{Field{"/base_models/0/rope_scaling/type", type}}; }
  static constexpr std::int64_t longest_context(std::int64_t max_position_embeddings) {
    return max_position_embeddings;
  }
  static float inv_freq(std::span<float> out, double theta, std::int64_t head_dim, std::int64_t, std::int64_t) {
    detail::plain_inv_freq(out, theta, head_dim);
    return 1;
  }
};

// Position interpolation: every frequency divided by `factor`. transformers: rope_type "linear".
template <Ratio Factor>
struct RopeLinear {
  using slot = slots::rope;
  static constexpr bool valid = Factor.value() >= 1;
  static void explain() {
    static_assert(valid, "EXPERT-E050: a RoPE scaling factor is at least 1. Use RopeDefault for no scaling.");
  }
  static constexpr std::string_view type = "linear";
  static constexpr double factor = Factor.value();
  static constexpr auto describe() {
    return std::array{Field{"/base_models/0/rope_scaling/type", type},
                      Field{"/base_models/0/rope_scaling/factor", factor}};
  }
  static constexpr std::int64_t longest_context(std::int64_t max_position_embeddings) {
    return Factor.times(max_position_embeddings);
  }
  static float inv_freq(std::span<float> out, double theta, std::int64_t head_dim, std::int64_t, std::int64_t) {
    detail::plain_inv_freq(out, theta, head_dim);
    for (float& f : out) f /= static_cast<float>(factor);
    return 1;
  }
};

// NTK-aware scaling of the base that grows with the context, once that is longer than the trained length: `Original`,
// or where that is 0 the model's max_position_embeddings. transformers: rope_type "dynamic".
template <Ratio Factor, std::int64_t Original = 0>
struct RopeDynamic {
  using slot = slots::rope;
  static constexpr bool valid = Factor.value() >= 1;
  static void explain() {
    static_assert(valid, "EXPERT-E050: a RoPE scaling factor is at least 1. Use RopeDefault for no scaling.");
  }
  static constexpr std::string_view type = "dynamic";
  static constexpr double factor = Factor.value();
  static constexpr std::int64_t original_max_position_embeddings = Original;
  static constexpr auto describe() {
    if constexpr (Original == 0) {
      return std::array{Field{"/base_models/0/rope_scaling/type", type},
                        Field{"/base_models/0/rope_scaling/factor", factor}};
    } else {
      return std::array{
          Field{"/base_models/0/rope_scaling/type", type}, Field{"/base_models/0/rope_scaling/factor", factor},
          Field{"/base_models/0/rope_scaling/original_max_position_embeddings", original_max_position_embeddings}};
    }
  }
  static constexpr std::int64_t longest_context(std::int64_t max_position_embeddings) {
    return Factor.times(Original == 0 ? max_position_embeddings : Original);
  }
  static float inv_freq(std::span<float> out, double theta, std::int64_t head_dim, std::int64_t max_position_embeddings,
                        std::int64_t context_length) {
    const std::int64_t trained = Original == 0 ? max_position_embeddings : Original;
    if (context_length <= trained) {
      detail::plain_inv_freq(out, theta, head_dim);
      return 1;
    }
    const auto dim = static_cast<double>(head_dim);
    const double growth = factor * static_cast<double>(context_length) / static_cast<double>(trained) - (factor - 1);
    // transformers holds the length in an f32 tensor, so the stretch and the base are rounded to f32.
    const auto stretch = static_cast<float>(std::pow(growth, dim / (dim - 2)));
    detail::plain_inv_freq(out, static_cast<float>(theta) * stretch, head_dim);
    return 1;
  }
};

// YaRN (arXiv 2309.00071): fast pairs keep their frequency, slow ones are divided by `factor`, a ramp over the
// dimensions lies between. transformers: rope_type "yarn" with truncate. AttentionFactor 0 derives 0.1 ln(factor) + 1;
// with AttentionFactor 1 this is the "NTK-by-parts" of that paper.
template <Ratio Factor, std::int64_t Original, Ratio AttentionFactor = 0, Ratio BetaFast = 32, Ratio BetaSlow = 1>
struct RopeYarn {
  using slot = slots::rope;
  static constexpr bool has_lengths = Original > 0 && BetaFast.value() > BetaSlow.value() && BetaSlow.value() > 0 &&
                                      AttentionFactor.value() >= 0,
                        valid = Factor.value() >= 1 && has_lengths;
  static void explain() {
    static_assert(Factor.value() >= 1,
                  "EXPERT-E050: a RoPE scaling factor is at least 1. Use RopeDefault for no scaling.");
    static_assert(has_lengths,
                  "EXPERT-E052: RopeYarn needs Original > 0, AttentionFactor >= 0 and BetaFast > BetaSlow > 0.");
  }
  static constexpr std::string_view type = "yarn";
  static constexpr double factor = Factor.value(), beta_fast = BetaFast.value(), beta_slow = BetaSlow.value();
  static constexpr std::int64_t original_max_position_embeddings = Original;
  static constexpr auto describe() {
    constexpr std::array common{
        Field{"/base_models/0/rope_scaling/type", type}, Field{"/base_models/0/rope_scaling/factor", factor},
        Field{"/base_models/0/rope_scaling/original_max_position_embeddings", original_max_position_embeddings},
        Field{"/base_models/0/rope_scaling/beta_fast", beta_fast},
        Field{"/base_models/0/rope_scaling/beta_slow", beta_slow}};
    if constexpr (AttentionFactor.num == 0) {
      return common;
    } else {
      return std::array{common[0], common[1],
                        common[2], common[3],
                        common[4], Field{"/base_models/0/rope_scaling/attention_factor", AttentionFactor.value()}};
    }
  }
  static constexpr std::int64_t longest_context(std::int64_t) { return Factor.times(Original); }
  static double attention_factor() {
    return AttentionFactor.num != 0 ? AttentionFactor.value() : factor <= 1 ? 1.0 : 0.1 * std::log(factor) + 1.0;
  }
  static float inv_freq(std::span<float> out, double theta, std::int64_t head_dim, std::int64_t, std::int64_t) {
    const auto dim = static_cast<double>(head_dim);
    const auto dimension_of = [&](double rotations) {  // the dimension that turns so often within the trained length
      return dim * std::log(static_cast<double>(Original) / (rotations * 2 * std::numbers::pi)) / (2 * std::log(theta));
    };
    const double low = std::max(std::floor(dimension_of(beta_fast)), 0.0);
    double high = std::min(std::ceil(dimension_of(beta_slow)), dim - 1);
    if (low == high) high += 0.001;
    const double base = static_cast<float>(theta);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
      const auto wave = static_cast<float>(std::pow(base, double{exponent}));
      const float ramp = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
      const float kept = 1.0f - std::clamp(ramp, 0.0f, 1.0f);
      out[i] = 1.0f / (static_cast<float>(factor) * wave) * (1.0f - kept) + 1.0f / wave * kept;
    }
    return static_cast<float>(attention_factor());
  }
};

// Llama 3.1's rule: long waves divided by `factor`, short ones kept, smooth between. transformers: rope_type "llama3".
template <Ratio Factor, std::int64_t Original, Ratio LowFreqFactor = 1, Ratio HighFreqFactor = 4>
struct RopeLlama3 {
  using slot = slots::rope;
  static constexpr bool has_lengths = Original > 0 &&
                                      HighFreqFactor.value() > LowFreqFactor.value() && LowFreqFactor.value() > 0,
                        valid = Factor.value() >= 1 && has_lengths;
  static void explain() {
    static_assert(Factor.value() >= 1,
                  "EXPERT-E050: a RoPE scaling factor is at least 1. Use RopeDefault for no scaling.");
    static_assert(has_lengths, "EXPERT-E053: RopeLlama3 needs Original > 0 and HighFreqFactor > LowFreqFactor > 0.");
  }
  static constexpr std::string_view type = "llama3";
  static constexpr double factor = Factor.value(), low_freq_factor = LowFreqFactor.value(),
                          high_freq_factor = HighFreqFactor.value();
  static constexpr std::int64_t original_max_position_embeddings = Original;
  static constexpr auto describe() {
    return std::array{
        Field{"/base_models/0/rope_scaling/type", type}, Field{"/base_models/0/rope_scaling/factor", factor},
        Field{"/base_models/0/rope_scaling/original_max_position_embeddings", original_max_position_embeddings},
        Field{"/base_models/0/rope_scaling/low_freq_factor", low_freq_factor},
        Field{"/base_models/0/rope_scaling/high_freq_factor", high_freq_factor}};
  }
  static constexpr std::int64_t longest_context(std::int64_t) { return Factor.times(Original); }
  static float inv_freq(std::span<float> out, double theta, std::int64_t head_dim, std::int64_t, std::int64_t) {
    const auto original = static_cast<float>(Original), scale = static_cast<float>(factor);
    const auto low = static_cast<float>(low_freq_factor), high = static_cast<float>(high_freq_factor);
    detail::plain_inv_freq(out, theta, head_dim);
    for (float& f : out) {
      // torch divides a number by a tensor as reciprocal times number.
      const float wavelength = 1.0f / f * static_cast<float>(2 * std::numbers::pi);
      const float smooth = (1.0f / wavelength * original - low) / (high - low);
      if (wavelength > original / low) {
        f /= scale;
      } else if (!(wavelength < original / high)) {
        f = (1.0f - smooth) * f / scale + smooth * f;
      }
    }
    return 1;
  }
};

// The rule that the expert manifests call "ntk-by-parts". Contexts of at most Max tokens use the model's own base, bit
// for bit as RopeDefault; a longer context of L tokens uses theta * (L / Max)^(1/4), computed in double. Original *
// Factor bounds L (the caller refuses more). FineGrained false: L is that bound whatever the context.
template <std::int64_t Original, std::int64_t Max, Ratio Factor = 8, bool FineGrained = true>
struct RopeNtkByParts {
  using slot = slots::rope;
  static constexpr bool has_lengths = Original > 0 && Max > 0 && Factor.times(Original) >= Max,
                        valid = Factor.value() >= 1 && has_lengths;
  static void explain() {
    static_assert(Factor.value() >= 1,
                  "EXPERT-E050: a RoPE scaling factor is at least 1. Use RopeDefault for no scaling.");
    static_assert(
        has_lengths,
        "EXPERT-E051: RopeNtkByParts<Original, Max, Factor> needs Original * Factor >= Max: the context cannot "
        "be stretched to less than the length that needs no stretching. Raise Factor or lower Max.");
  }
  static constexpr std::string_view type = "ntk-by-parts";
  static constexpr double factor = Factor.value();
  static constexpr std::int64_t original_max_position_embeddings = Original, max_position_embeddings = Max;
  static constexpr bool fine_grained = FineGrained;
  static constexpr auto describe() {
    return std::array{
        Field{"/base_models/0/rope_scaling/type", type}, Field{"/base_models/0/rope_scaling/factor", factor},
        Field{"/base_models/0/rope_scaling/max_position_embeddings", max_position_embeddings},
        Field{"/base_models/0/rope_scaling/original_max_position_embeddings", original_max_position_embeddings},
        Field{"/base_models/0/rope_scaling/fine_grained", fine_grained}};
  }
  static constexpr std::int64_t longest_context(std::int64_t) { return Factor.times(Original); }
  static float inv_freq(std::span<float> out, double theta, std::int64_t head_dim, std::int64_t,
                        std::int64_t context_length) {
    const std::int64_t length = FineGrained ? context_length : longest_context(0);
    if (length <= Max) {
      detail::plain_inv_freq(out, theta, head_dim);
      return 1;
    }
    const double base = theta * std::pow(static_cast<double>(length) / static_cast<double>(Max), 0.25);
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<float>(1 / std::pow(base, static_cast<double>(2 * i) / static_cast<double>(head_dim)));
    return 1;
  }
};

}  // namespace v0
}  // namespace expert
