// sample: the greedy choice and the draw of ops/sample.hpp in vectors, for one position: what of a vocabulary cannot
// matter any more is passed over in blocks.
//
// The order of the warpers and their borders are the reference's. exp is the kernels' own (1.1 units in the last place)
// and sums run in another order, so a draw differs where it lies that near to a border: bits depend on the instruction
// set, not on the thread count. A NaN anywhere gives -1, never a token.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

#include "expert/cpu/device.hpp"
#include "expert/cpu/kernels.hpp"
#include "expert/ops/sample.hpp"

namespace expert {
inline namespace v0 {

namespace detail {

inline constexpr std::int64_t sample_block = 64;

// f(first, count) for the blocks of n numbers, until it gives false.
template <class F>
void over_blocks(std::int64_t n, F&& f) noexcept {
  for (std::int64_t first = 0; first < n; first += sample_block)
    if (!f(first, std::min(sample_block, n - first))) return;
}

template <class Kernels>
void top_k_in_blocks(Kernels kernels, std::int64_t n, std::int64_t top_k, float* logits, float* values) noexcept {
  if (top_k <= 0 || top_k >= n) return;
  // The k largest so far and some that came after: most logits are below them all.
  float *const kth = values + top_k - 1, *end = values, *const full = values + std::min(n, 2 * top_k + 64);
  float least = reference::removed;  // of k that were kept
  const auto keep_largest = [&] {
    std::nth_element(values, kth, end, [](float a, float b) { return a > b; });
    end = kth + 1;
    least = *kth;
  };
  over_blocks(n, [&](std::int64_t first, std::int64_t count) {
    if (end > kth && !(kernels.max_row(count, logits + first) > least)) return true;
    for (std::int64_t j = first; j < first + count; ++j) {
      if (logits[j] <= least && end > kth) continue;
      *end++ = logits[j];
      if (end == full) keep_largest();
    }
    return true;
  });
  keep_largest();
  kernels.remove_below_row(n, least, logits, logits);
}

// exps[j] = exp(logits[j] - max); f(first, count, sum) for each block.
template <class Kernels, class F>
void exp_in_blocks(Kernels kernels, std::int64_t n, const float* logits, float max, float* exps, F&& f) noexcept {
  constexpr float vanishes = -104;  // e^x is 0 from here on down
  over_blocks(n, [&](std::int64_t first, std::int64_t count) {
    float sum = 0;
    if (kernels.max_row(count, logits + first) - max < vanishes) {
      std::fill_n(exps + first, count, 0.0f);
    } else {
      if (exps != logits) std::copy_n(logits + first, count, exps + first);
      sum = kernels.exp_row(count, max, exps + first);
    }
    f(first, count, sum);
    return true;
  });
}

// The probabilities are summed up in bins by their leading bits, so that the border is found without sorting; what is
// in its bin alone is sorted.
template <class Kernels>
void top_p_in_blocks(Kernels kernels, std::int64_t n, double top_p, float max, float* logits,
                     SampleScratch scratch) noexcept {
  if (top_p >= 1) return;
  constexpr int low_bits = 18;
  constexpr std::size_t bins = (std::bit_cast<std::uint32_t>(1.0f) >> low_bits) + 2;  // exp may round up past 1
  const auto bin_of = [](float e) { return std::bit_cast<std::uint32_t>(e) >> low_bits; };
  double mass[bins] = {}, total = 0;
  float* const exps = scratch.values;
  exp_in_blocks(kernels, n, logits, max, exps, [&](std::int64_t first, std::int64_t count, float sum) {
    total += double{sum};
    for (std::int64_t j = first; sum > 0 && j < first + count; ++j) mass[bin_of(exps[j])] += double{exps[j]};
  });
  const auto tail = static_cast<float>(1 - top_p);
  const auto is_tail = [&](double below) { return static_cast<float>(below / total) <= tail; };
  double below = 0;  // of what is removed
  std::size_t bin = 0;
  const std::size_t last = bin_of(1.0f);
  while (bin < last && is_tail(below + mass[bin])) below += mass[bin++];
  const float least = std::bit_cast<float>(static_cast<std::uint32_t>(bin) << low_bits);
  const float beyond = std::bit_cast<float>(static_cast<std::uint32_t>(bin + 1) << low_bits);
  std::int32_t* const candidates = scratch.indices;
  std::int32_t* end = candidates;
  over_blocks(n, [&](std::int64_t first, std::int64_t count) {
    if (kernels.max_row(count, exps + first) < least) return true;
    for (std::int64_t j = first; j < first + count; ++j)
      if (exps[j] >= least && (exps[j] < beyond || bin == last)) *end++ = static_cast<std::int32_t>(j);
    return true;
  });
  std::sort(candidates, end,
            [&](std::int32_t a, std::int32_t b) { return logits[a] != logits[b] ? logits[a] < logits[b] : a < b; });
  for (const std::int32_t* i = candidates; i != end && (i + 1 != end || bin != last); ++i) {
    below += double{exps[*i]};
    if (!is_tail(below)) break;
    logits[*i] = reference::removed;
  }
  kernels.remove_below_row(n, least, exps, logits);
}

// The index at which the sum of exp(logits) passes u of its whole. The logits become their exponentials.
template <class Kernels>
std::int64_t draw_in_blocks(Kernels kernels, std::int64_t n, float max, float* logits, double u,
                            SampleScratch scratch) noexcept {
  double total = 0;
  exp_in_blocks(kernels, n, logits, max, logits, [&](std::int64_t first, std::int64_t, float sum) {
    scratch.values[first / sample_block] = sum;
    total += double{sum};
  });
  if (!(total > 0) || !std::isfinite(total) || !(u >= 0 && u < 1)) return -1;
  double cumulative = 0;
  std::int64_t token = -1, last = 0;  // block that can be drawn from
  const auto passes_within = [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t j = first; j < first + count; ++j) {
      if (!(logits[j] > 0)) continue;
      token = j;
      cumulative += double{logits[j]};
      if (cumulative > u * total) return true;
    }
    return false;
  };
  over_blocks(n, [&](std::int64_t first, std::int64_t count) {
    const auto sum = double{scratch.values[first / sample_block]};
    if (sum <= 0) return true;
    last = first;
    if (cumulative + sum > u * total) return !passes_within(first, count);
    cumulative += sum;
    return true;
  });
  if (token < 0) passes_within(last, std::min(sample_block, n - last));  // u so near to 1 that rounding hides the end
  return token;
}

}  // namespace detail

// A row of logits as f32, (n) each, for what follows to change.
template <class T>
void widen_logits(Cpu& cpu, std::int64_t n, const T* row, float* logits) noexcept {
  with_kernels(cpu.isa, [&](auto kernels) noexcept { kernels.widen_row(n, row, logits); });
}

// reference::argmax.
template <class T>
std::int64_t greedy_token(Cpu& cpu, std::int64_t n, const T* logits) noexcept {
  std::int64_t found = -1;
  with_kernels(cpu.isa, [&](auto kernels) noexcept {
    if (n == 0 || kernels.has_nan_row(n, logits)) return;
    const float max = kernels.max_row(n, logits);
    detail::over_blocks(n, [&](std::int64_t first, std::int64_t count) {
      if (kernels.max_row(count, logits + first) < max) return true;
      for (found = first; logits[found] < max;) ++found;
      return false;
    });
  });
  return found;
}

// reference::warp, softmax and sample; -1 where nothing can be drawn. The logits are overwritten.
template <class T>
std::int64_t draw_token(Cpu& cpu, std::int64_t n, T* logits, std::span<const std::int32_t> history,
                        const SamplingOptions& options, double u, SampleScratch scratch) noexcept {
  std::int64_t token = -1;
  with_kernels(cpu.isa, [&](auto kernels) noexcept {
    if (options.repetition_penalty != 1)
      reference::warp_repetition_penalty({logits, static_cast<std::size_t>(n)}, history, options.repetition_penalty,
                                         scratch);
    if (kernels.has_nan_row(n, logits)) return;
    if (options.temperature != 1) kernels.divide_row(n, static_cast<float>(options.temperature), logits);
    const float max = kernels.max_row(n, logits);
    if (!std::isfinite(max)) return;
    detail::top_k_in_blocks(kernels, n, options.top_k, logits, scratch.values);
    detail::top_p_in_blocks(kernels, n, options.top_p, max, logits, scratch);
    if (options.min_p > 0) {
      detail::exp_in_blocks(kernels, n, logits, max, scratch.values, [](std::int64_t, std::int64_t, float) {});
      kernels.remove_below_row(n, static_cast<float>(options.min_p), scratch.values, logits);
    }
    token = detail::draw_in_blocks(kernels, n, max, logits, u, scratch);
  });
  return token;
}

}  // namespace v0
}  // namespace expert
