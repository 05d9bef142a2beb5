// Gradients -> parameters: the norm of all gradients, the factor that clips it, the learning rate of the step, AdamW.
// Rates equal transformers' schedules (optimization.py 5.23), updates torch.optim.AdamW and clip_grad_norm_.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <string_view>

#include "expert/core/config.hpp"
#include "expert/core/error.hpp"
#include "expert/cpu/device.hpp"
#include "expert/cpu/gemm.hpp"
#include "expert/ops/adamw.hpp"
#include "expert/ops/global_norm.hpp"
#include "expert/ops/muon.hpp"
#include "expert/policy/optimizer.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode bad_optimizer_option{308, "an option of the optimizer is not possible"};

// transformers' names. `constant` has no warm-up, whatever warmup_steps says: that is `constant_with_warmup`.
enum class LrScheduler : std::uint8_t { constant, constant_with_warmup, linear, cosine };
inline constexpr std::array<std::string_view, 4> lr_scheduler_names = {"constant", "constant_with_warmup", "linear",
                                                                       "cosine"};

// Names and defaults of transformers.TrainingArguments.
struct OptimizerOptions {
  double learning_rate = 5e-5;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0;
  double max_grad_norm = 1;  // 0: no clipping
  LrScheduler lr_scheduler = LrScheduler::linear;
  std::int64_t warmup_steps = 0;
  double warmup_ratio = 0;  // of all steps; used where warmup_steps is 0
};

// Throws EXPERT-E308.
inline LrScheduler lr_scheduler_of(std::string_view name, const std::string& file = {}) {
  const auto found = std::find(lr_scheduler_names.begin(), lr_scheduler_names.end(), name);
  if (found != lr_scheduler_names.end()) return static_cast<LrScheduler>(found - lr_scheduler_names.begin());
  throw Error(bad_optimizer_option, {.file = file,
                                     .where = "/training/config/lr_scheduler",
                                     .expected = "one of constant, constant_with_warmup, linear, cosine",
                                     .got = quoted(name),
                                     .fix = "Choose one of them"});
}

// Throws EXPERT-E308 for the first value that is out of range or not a number, and for two statements of the warm-up.
inline void check_optimizer_options(const OptimizerOptions& o, const std::string& file = {}) {
  const auto require = [&](bool ok, const char* key, const char* expected, double got, const char* fix) {
    if (ok) return;
    throw Error(bad_optimizer_option, {.file = file,
                                       .where = std::string("/training/config/") + key,
                                       .expected = expected,
                                       .got = std::to_string(got),
                                       .fix = fix});
  };
  const auto at_least_0 = [](double x) { return std::isfinite(x) && x >= 0; };
  const auto below_1 = [](double x) { return x >= 0 && x < 1; };
  require(at_least_0(o.learning_rate), "learning_rate", "a finite number >= 0", o.learning_rate, "Use about 1e-4");
  require(below_1(o.beta1), "adam_beta1", "a number in [0, 1)", o.beta1, "Use 0.9");
  require(below_1(o.beta2), "adam_beta2", "a number in [0, 1)", o.beta2, "Use 0.999");
  require(std::isfinite(o.epsilon) && o.epsilon > 0, "adam_epsilon", "a finite number > 0", o.epsilon, "Use 1e-8");
  require(at_least_0(o.weight_decay), "weight_decay", "a finite number >= 0", o.weight_decay, "Use 0 or 0.01");
  require(at_least_0(o.max_grad_norm), "max_grad_norm", "a finite number >= 0", o.max_grad_norm,
          "Use 1, or 0 for no clipping");
  require(o.warmup_steps >= 0, "warmup_steps", "a number of steps >= 0", static_cast<double>(o.warmup_steps),
          "Use 0 for no warm-up");
  require(o.warmup_ratio >= 0 && o.warmup_ratio <= 1, "warmup_ratio", "a share in [0, 1]", o.warmup_ratio,
          "Use 0 for no warm-up");
  require(o.warmup_steps == 0 || o.warmup_ratio == 0, "warmup_ratio", "0 beside warmup_steps > 0", o.warmup_ratio,
          "Keep one of the two");
}

// How many steps the rate rises: TrainingArguments.get_warmup_steps.
inline std::int64_t warmup_steps_of(const OptimizerOptions& o, std::int64_t total_steps) {
  if (o.warmup_steps > 0) return o.warmup_steps;
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(total_steps) * o.warmup_ratio));
}

// The rate of optimizer step `step`, counted from 0 (with a warm-up the first step has rate 0, as in transformers).
inline double learning_rate_at(const OptimizerOptions& o, std::int64_t step, std::int64_t total_steps) {
  const std::int64_t warmup = warmup_steps_of(o, total_steps);
  const auto share = [](std::int64_t part, std::int64_t whole) {
    return static_cast<double>(part) / static_cast<double>(std::max<std::int64_t>(1, whole));
  };
  if (o.lr_scheduler == LrScheduler::constant) return o.learning_rate;
  if (step < warmup) return o.learning_rate * share(step, warmup);
  switch (o.lr_scheduler) {
    case LrScheduler::linear:
      return o.learning_rate * std::max(0.0, share(total_steps - step, total_steps - warmup));
    case LrScheduler::cosine: {
      const double progress = share(step - warmup, total_steps - warmup);
      return o.learning_rate * std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * progress)));
    }
    default:
      return o.learning_rate;
  }
}

// The norm over n gradients; the same bits at any thread count. NaN or infinite where a gradient is.
inline double global_norm(Cpu& cpu, const float* gradients, std::int64_t n) noexcept {
  std::array<double, norm_sections> sums;
  cpu.pool->parallel_for(norm_sections, [&](std::int64_t s, int) noexcept {
    const NormSection section = norm_section(n, s);
    sums[static_cast<std::size_t>(s)] = reference::square_sum(gradients + section.first, section.count);
  });
  double sum = 0;
  for (const double s : sums) sum += s;
  return std::sqrt(sum);
}

// Step `step` (from 1) of AdamW on n parameters with one weight decay; gradients are multiplied by `clip` on the way.
inline void adamw_update(Cpu& cpu, const OptimizerOptions& o, std::int64_t step, double learning_rate, double clip,
                         std::int64_t n, float* parameters, const float* gradients, float* exp_avg,
                         float* exp_avg_sq) noexcept {
  const AdamWStep factors(learning_rate, o.beta1, o.beta2, o.epsilon, o.weight_decay, step, clip);
  constexpr std::int64_t piece = std::int64_t{1} << 14;
  cpu.pool->parallel_for((n + piece - 1) / piece, [&](std::int64_t i, int) noexcept {
    const std::int64_t first = i * piece;
    with_kernels(cpu.isa, [&](auto kernels) noexcept {
      kernels.adamw_row(factors, std::min(piece, n - first), parameters + first, gradients + first, exp_avg + first,
                        exp_avg_sq + first);
    });
  });
}

// One step of the policy `Optimizer`, which is Muon or like it, on a matrix (rows, cols). `scratch` has
// muon_scratch_floats(rows, cols). The same bits at any thread count.
template <OrthogonalisesMatrices Optimizer>
void muon_update(Cpu& cpu, const OptimizerOptions& o, double learning_rate, double clip, std::int64_t rows,
                 std::int64_t cols, float* parameters, const float* gradients, float* exp_avg,
                 float* scratch) noexcept {
  const std::int64_t n = rows * cols, side = std::min(rows, cols);
  float *x = scratch, *next = x + n, *gram = next + n, *polynomial = gram + side * side;
  constexpr std::int64_t piece = std::int64_t{1} << 14;
  const auto in_pieces = [&](auto&& body) {
    cpu.pool->parallel_for((n + piece - 1) / piece, [&](std::int64_t i, int) noexcept {
      for (std::int64_t j = i * piece; j < std::min(n, (i + 1) * piece); ++j) body(j);
    });
  };
  const auto beta = static_cast<float>(Optimizer::momentum), scale = static_cast<float>(clip);
  in_pieces([&](std::int64_t j) { x[j] = muon_momentum(beta, gradients[j] * scale, exp_avg[j]); });
  const auto inverse = static_cast<float>(1 / (global_norm(cpu, x, n) + muon_epsilon));
  in_pieces([&](std::int64_t j) { x[j] *= inverse; });

  const auto [a, b, c] = newton_schulz;
  const bool wide = rows <= cols;
  for (int step = 0; step < newton_schulz_steps; ++step) {
    gemm(cpu, wide ? Trans::no : Trans::yes, wide ? Trans::yes : Trans::no, side, side, std::max(rows, cols), 1.0f, x,
         cols, x, cols, 0.0f, gram, side);
    std::copy_n(gram, side * side, polynomial);
    gemm(cpu, Trans::no, Trans::no, side, side, side, c, gram, side, gram, side, b, polynomial, side);
    for (std::int64_t i = 0; i < side; ++i) polynomial[i * side + i] += a;
    if (wide) {
      gemm(cpu, Trans::no, Trans::no, rows, cols, side, 1.0f, polynomial, side, x, cols, 0.0f, next, cols);
    } else {
      gemm(cpu, Trans::no, Trans::no, rows, cols, side, 1.0f, x, cols, polynomial, side, 0.0f, next, cols);
    }
    std::swap(x, next);
  }
  const float keep = static_cast<float>(1 - learning_rate * o.weight_decay);
  const float size = muon_step_size(learning_rate, rows, cols);
  in_pieces([&](std::int64_t j) { parameters[j] = parameters[j] * keep - size * x[j]; });
}

}  // namespace v0
}  // namespace expert
