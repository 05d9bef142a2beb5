// Memory plans whose peak was measured: step_bench --expert ..., bench/results. `plan` counts a row while the plan has
// the same bytes.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace cli {

struct MeasuredPlan {
  std::string_view model, quantization;
  std::int64_t tokens, planned_bytes, peak_bytes;  // peak: what the process held beyond base and program
  std::string_view machine, date;
};

inline constexpr std::string_view xeon_2core = "Xeon with AMX, 2 threads, 24 GiB";
inline constexpr std::array measured_plans{
    MeasuredPlan{"ExpertTiny", "bf16", 4096, 213092928, 216604672, xeon_2core, "2026-11-22"},
    MeasuredPlan{"Qwen3-0.6B", "int4", 2048, 3315987008, 3313975296, xeon_2core, "2026-11-22"},
};

}  // namespace cli
