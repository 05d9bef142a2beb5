// sample: logits of one position -> the next token. Warpers equal to transformers' (generation/logits_process.py 5.23),
// in the order of its generate(); a removed entry becomes -inf:
//   1. a grammar's mask (the generator's)   tokens that it forbids
//   2. repetition penalty                   the tokens of prompt and output
//   3. temperature                          logits / temperature
//   4. top_k                                all below the k-th largest
//   5. top_p                                the tail of what is left: its probabilities are those after 1 to 4
//   6. min_p                                what is less than its share of the most probable, after 1 to 5
// Then softmax and a draw. Greedy decoding takes the largest logit after the mask: none of the warpers is applied.
// Nothing allocates: the caller gives scratch of the vocabulary's size. A NaN anywhere gives -1, never a token.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

// What generation_config.json and the manifest name so; each default leaves the logits as they are.
struct SamplingOptions {
  double temperature = 1;         // > 0
  std::int64_t top_k = 0;         // 0: off
  double top_p = 1;               // [0, 1]
  double min_p = 0;               // [0, 1]
  double repetition_penalty = 1;  // > 0
};

// (vocab_size) each.
struct SampleScratch {
  float* values = nullptr;
  std::int32_t* indices = nullptr;
};

namespace reference {

inline constexpr float removed = -std::numeric_limits<float>::infinity();

// The first index of the largest value, as torch.argmax; -1 when a value is NaN or there is none.
inline std::int64_t argmax(std::span<const float> logits) noexcept {
  std::int64_t best = -1;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) return -1;
    if (best < 0 || logits[i] > logits[static_cast<std::size_t>(best)]) best = static_cast<std::int64_t>(i);
  }
  return best;
}

// Tokens of `history` (prompt and output; ids outside the vocabulary are skipped), each once: positive logits are
// divided by `penalty`, negative ones multiplied.
inline void warp_repetition_penalty(std::span<float> logits, std::span<const std::int32_t> history, double penalty,
                                    SampleScratch scratch) noexcept {
  const auto p = static_cast<float>(penalty);
  const auto inside = [&](std::int32_t id) { return id >= 0 && static_cast<std::size_t>(id) < logits.size(); };
  // Penalised from a copy, so that a token that occurs twice is penalised once.
  for (const std::int32_t id : history)
    if (inside(id)) scratch.values[id] = logits[static_cast<std::size_t>(id)];
  for (const std::int32_t id : history) {
    if (!inside(id)) continue;
    const float x = scratch.values[id];
    logits[static_cast<std::size_t>(id)] = x < 0 ? x * p : x / p;
  }
}

inline void warp_temperature(std::span<float> logits, double temperature) noexcept {
  const auto t = static_cast<float>(temperature);
  for (float& x : logits) x /= t;
}

// Keeps every logit that is not below the k-th largest: ties at the border all stay.
inline void warp_top_k(std::span<float> logits, std::int64_t top_k, SampleScratch scratch) noexcept {
  const auto n = static_cast<std::int64_t>(logits.size());
  if (top_k <= 0 || top_k >= n) return;
  std::copy(logits.begin(), logits.end(), scratch.values);
  float* kth = scratch.values + top_k - 1;
  std::nth_element(scratch.values, kth, scratch.values + n, [](float a, float b) { return a > b; });
  for (float& x : logits)
    if (x < *kth) x = removed;
}

// logits -> probabilities (may be the same array); sums in double. All -inf, +inf or a NaN gives NaN.
inline void softmax(std::span<const float> logits, std::span<float> probabilities) noexcept {
  float largest = removed;
  for (const float x : logits) largest = x > largest ? x : largest;
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    probabilities[i] = std::exp(logits[i] - largest);
    sum += double{probabilities[i]};
  }
  const auto total = static_cast<float>(sum);
  for (float& p : probabilities) p /= total;
}

// Removes the tail whose cumulative probability, from the smallest up, is at most 1 - top_p; the largest always stays.
// Of equal logits the lower index goes first, as in a stable sort (torch's is not stable: its choice among equals is
// open).
inline void warp_top_p(std::span<float> logits, double top_p, SampleScratch scratch) noexcept {
  if (top_p >= 1 || logits.empty()) return;
  std::size_t kept = 0;  // removed entries have probability 0 and stay removed: only the others are sorted
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (logits[i] != removed) scratch.indices[kept++] = static_cast<std::int32_t>(i);
  if (kept == 0) return;
  const auto value = [&](std::int32_t i) { return logits[static_cast<std::size_t>(i)]; };
  std::sort(scratch.indices, scratch.indices + kept,
            [&](std::int32_t a, std::int32_t b) { return value(a) != value(b) ? value(a) < value(b) : a < b; });
  for (std::size_t i = 0; i < kept; ++i) scratch.values[i] = value(scratch.indices[i]);
  softmax({scratch.values, kept}, {scratch.values, kept});
  const auto tail = static_cast<float>(1 - top_p);
  double cumulative = 0;
  for (std::size_t i = 0; i + 1 < kept; ++i) {
    cumulative += double{scratch.values[i]};
    if (!(static_cast<float>(cumulative) <= tail)) return;
    logits[static_cast<std::size_t>(scratch.indices[i])] = removed;
  }
}

// Removes every token less probable than min_p times the most probable.
inline void warp_min_p(std::span<float> logits, double min_p, SampleScratch scratch) noexcept {
  if (min_p <= 0 || logits.empty()) return;
  const std::span<float> probabilities{scratch.values, logits.size()};
  softmax(logits, probabilities);
  const std::int64_t best = argmax(probabilities);
  if (best < 0) return;
  const float least = static_cast<float>(min_p) * probabilities[static_cast<std::size_t>(best)];
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (probabilities[i] < least && i != static_cast<std::size_t>(best)) logits[i] = removed;
}

// All of them in transformers' order, in place. False when a logit is NaN or +inf, or none is left: nothing can be
// drawn.
inline bool warp(std::span<float> logits, std::span<const std::int32_t> history, const SamplingOptions& options,
                 SampleScratch scratch) noexcept {
  for (const float x : logits)
    if (std::isnan(x) || x == std::numeric_limits<float>::infinity()) return false;
  if (options.repetition_penalty != 1) warp_repetition_penalty(logits, history, options.repetition_penalty, scratch);
  if (options.temperature != 1) warp_temperature(logits, options.temperature);
  const std::int64_t best = argmax(logits);
  if (best < 0 || !std::isfinite(logits[static_cast<std::size_t>(best)])) return false;
  warp_top_k(logits, options.top_k, scratch);
  warp_top_p(logits, options.top_p, scratch);
  warp_min_p(logits, options.min_p, scratch);
  return true;
}

// The index at which the cumulative probability passes u in [0, 1): the draw by inversion. -1 for NaN or an empty list.
// The probabilities need not sum to 1 exactly: u is taken of their sum.
inline std::int64_t sample(std::span<const float> probabilities, double u) noexcept {
  double total = 0;
  for (const float p : probabilities) total += double{p};
  if (!(total > 0) || !std::isfinite(total) || !(u >= 0 && u < 1)) return -1;
  double cumulative = 0;
  std::int64_t last = -1;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    if (!(probabilities[i] > 0)) continue;
    cumulative += double{probabilities[i]};
    last = static_cast<std::int64_t>(i);
    if (cumulative > u * total) return last;
  }
  return last;
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
