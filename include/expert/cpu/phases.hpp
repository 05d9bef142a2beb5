// Where the time of a step goes: seconds by kind of work, counted only where somebody asks for them.
#pragma once
#include <time.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "expert/core/config.hpp"
#include "expert/cpu/device.hpp"

namespace expert {
inline namespace v0 {

// The names of Phase, in its order.
inline constexpr std::array<std::string_view, 9> phase_names = {
    "base products, forward",
    "base products, backward",
    "low-rank products, forward",
    "low-rank products, backward",
    "attention, forward",
    "attention, backward",
    "LM head and cross entropy",
    "DoRA norms",
    "optimizer",
};

// Counts wall time from here to the end of the scope for `phase`, on the thread that calls the ops; nothing where the
// handle has no clock. Scopes do not nest.
class PhaseScope {
 public:
  PhaseScope(const Cpu& cpu, Phase phase) noexcept : clock_(cpu.phases), phase_(static_cast<std::size_t>(phase)) {
    if (clock_ != nullptr) begin_ = now();
  }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;
  ~PhaseScope() {
    if (clock_ != nullptr) clock_->seconds[phase_] += now() - begin_;
  }

 private:
  static double now() noexcept {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }

  PhaseClock* clock_;
  std::size_t phase_;
  double begin_ = 0;
};

}  // namespace v0
}  // namespace expert
