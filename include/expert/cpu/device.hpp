// A number of threads and an instruction set -> `Cpu`, the tag that an op is overloaded on, with all that its kernels
// need.
#pragma once
#include <array>
#include <cstdint>

#include "expert/core/arena.hpp"
#include "expert/core/threads.hpp"
#include "expert/cpu/isa.hpp"

namespace expert {
inline namespace v0 {

// Scratch of one thread, in floats: first gemm's, then that of the op that calls it. An op may run gemm_serial on its
// own scratch.
inline constexpr std::int64_t gemm_workspace_floats = std::int64_t{1} << 19;  // 2 MiB
inline constexpr std::int64_t op_workspace_floats = std::int64_t{1} << 18;    // 1 MiB
inline constexpr std::int64_t workspace_floats_per_thread = gemm_workspace_floats + op_workspace_floats;
// Scratch of all: rows that gemm packs once for every thread, 512 of the deepest that it packs so.
inline constexpr std::int64_t shared_workspace_floats = 819'200;

// What a step spends its time on (cpu/phases.hpp); all else is the norms, rotations, activations and copies between.
enum class Phase : std::uint8_t {
  base_forward,
  base_backward,
  low_rank_forward,
  low_rank_backward,
  attention_forward,
  attention_backward,
  head,
  dora_norm,
  optimizer,
};
struct PhaseClock {
  std::array<double, 9> seconds{};
};

// A non-owning handle: copy it freely, CpuDevice owns what it points to.
struct Cpu {
  ThreadPool* pool = nullptr;
  Isa isa = Isa::Scalar;
  float* workspace = nullptr;  // 64-byte aligned: shared_workspace_floats, then workspace_floats_per_thread for each
  std::int64_t workspace_floats = 0;
  PhaseClock* phases = nullptr;  // null: nobody counts

  float* shared_workspace() const noexcept { return workspace; }
  float* gemm_workspace(int thread) const noexcept {
    return workspace + shared_workspace_floats + thread * workspace_floats_per_thread;
  }
  float* op_workspace(int thread) const noexcept { return gemm_workspace(thread) + gemm_workspace_floats; }
};

// Throws EXPERT-E305 (threads), EXPERT-E307 (isa).
class CpuDevice {
 public:
  explicit CpuDevice(int threads, Isa isa = best_isa())
      : isa_(require_supported(isa)), pool_(threads), workspace_(workspace_bytes(threads)) {}

  Cpu cpu() noexcept {
    return {&pool_, isa_, reinterpret_cast<float*>(workspace_.data()),
            workspace_bytes(pool_.size()) / std::int64_t{sizeof(float)}, phases_};
  }
  // Handles that are taken from here on count where their time goes.
  void count_phases(PhaseClock& clock) noexcept { phases_ = &clock; }
  static constexpr std::int64_t workspace_bytes(int threads) {
    return (shared_workspace_floats + threads * workspace_floats_per_thread) * std::int64_t{sizeof(float)};
  }

 private:
  Isa isa_;
  ThreadPool pool_;
  AlignedBytes workspace_;
  PhaseClock* phases_ = nullptr;
};

}  // namespace v0
}  // namespace expert
