// The kernels of the CPU for f32 and bf16, compiled once: where EXPERT_COMPILED_KERNELS is defined, a program takes
// them from an object of its own build instead of compiling them in every file that trains or generates.
//
// That object is a file with `#define EXPERT_CPU_TEMPLATE template` and an #include of this header
// (tools/cpu_kernels.cpp). Without either macro nothing changes: every file compiles what it uses.
#pragma once
#include <cstdint>

#include "expert/cpu/attention.hpp"
#include "expert/cpu/linear.hpp"
#include "expert/cpu/ops.hpp"
#include "expert/cpu/sample.hpp"
#include "expert/cpu/vector.hpp"

#if defined(EXPERT_COMPILED_KERNELS) && !defined(EXPERT_CPU_TEMPLATE)
#define EXPERT_CPU_TEMPLATE extern template
#endif

#if defined(EXPERT_CPU_TEMPLATE)
#define EXPERT_CPU_INSTANCE(...) EXPERT_CPU_TEMPLATE decltype(__VA_ARGS__) __VA_ARGS__;
#define EXPERT_CPU_INSTANCES(T)                             \
  EXPERT_CPU_INSTANCE(attention_forward<T>)                 \
  EXPERT_CPU_INSTANCE(attention_backward<T>)                \
  EXPERT_CPU_INSTANCE(convert<T>)                           \
  EXPERT_CPU_INSTANCE(rms_norm_forward<T>)                  \
  EXPERT_CPU_INSTANCE(rms_norm_backward<T>)                 \
  EXPERT_CPU_INSTANCE(rms_norm_weight_backward<T>)          \
  EXPERT_CPU_INSTANCE(qk_norm_rope_forward<T>)              \
  EXPERT_CPU_INSTANCE(qk_norm_rope_backward<T>)             \
  EXPERT_CPU_INSTANCE(residual_add<T>)                      \
  EXPERT_CPU_INSTANCE(residual_subtract<T>)                 \
  EXPERT_CPU_INSTANCE(scale_columns<T>)                     \
  EXPERT_CPU_INSTANCE(dora_backward<T>)                     \
  EXPERT_CPU_INSTANCE(swiglu_forward<T>)                    \
  EXPERT_CPU_INSTANCE(swiglu_backward<T>)                   \
  EXPERT_CPU_INSTANCE(cross_entropy<T>)                     \
  EXPERT_CPU_INSTANCE(cross_entropy_sums<T>)                \
  EXPERT_CPU_INSTANCE(cross_entropy_gradient<T>)            \
  EXPERT_CPU_INSTANCE(dropout_forward<T>)                   \
  EXPERT_CPU_INSTANCE(dropout_backward<T>)                  \
  EXPERT_CPU_INSTANCE(widen_logits<T>)                      \
  EXPERT_CPU_INSTANCE(linear_forward<T>)                    \
  EXPERT_CPU_INSTANCE(linear_backward_input<T>)             \
  EXPERT_CPU_INSTANCE(linear_backward_weight<T>)            \
  EXPERT_CPU_INSTANCE(low_rank_rows<T>)                     \
  EXPERT_CPU_INSTANCE(low_rank_backward<T>)                 \
  EXPERT_CPU_INSTANCE(low_rank_backward_input<T>)           \
  EXPERT_CPU_PACKED_INSTANCES(T, PackedFormat::nf4)         \
  EXPERT_CPU_PACKED_INSTANCES(T, PackedFormat::int4_affine) \
  EXPERT_CPU_PACKED_INSTANCES(T, PackedFormat::int8)        \
  EXPERT_CPU_PACKED_INSTANCES(T, PackedFormat::bf16)
#define EXPERT_CPU_PACKED_INSTANCES(T, F)      \
  EXPERT_CPU_INSTANCE(packed_forward<F, T, T>) \
  EXPERT_CPU_INSTANCE(packed_backward_input<F, T, T>)
#define EXPERT_CPU_VIEW_INSTANCES(V)               \
  EXPERT_CPU_INSTANCE(weight_times_rows<float, V>) \
  EXPERT_CPU_INSTANCE(weight_times_rows<bf16, V>)  \
  EXPERT_CPU_INSTANCE(weight_row_squares<V>)

namespace expert {
inline namespace v0 {
EXPERT_CPU_TEMPLATE void gemm(Cpu&, Trans, std::int64_t, std::int64_t, std::int64_t, float, const float*, std::int64_t,
                              const DenseSource<float>&, float, float*, std::int64_t,
                              const AddedProduct<float>&) noexcept;
EXPERT_CPU_TEMPLATE void gemm(Cpu&, Trans, std::int64_t, std::int64_t, std::int64_t, float, const bf16*, std::int64_t,
                              const DenseSource<bf16>&, float, float*, std::int64_t,
                              const AddedProduct<bf16>&) noexcept;
EXPERT_CPU_INSTANCES(float)
EXPERT_CPU_INSTANCES(bf16)
EXPERT_CPU_INSTANCE(greedy_token<float>)
EXPERT_CPU_INSTANCE(draw_token<float>)
EXPERT_CPU_VIEW_INSTANCES(MatrixView)
EXPERT_CPU_VIEW_INSTANCES(PackedView<PackedFormat::nf4>)
EXPERT_CPU_VIEW_INSTANCES(PackedView<PackedFormat::int4_affine>)
EXPERT_CPU_VIEW_INSTANCES(PackedView<PackedFormat::int8>)
EXPERT_CPU_VIEW_INSTANCES(PackedView<PackedFormat::bf16>)
}  // namespace v0
}  // namespace expert

#undef EXPERT_CPU_VIEW_INSTANCES
#undef EXPERT_CPU_PACKED_INSTANCES
#undef EXPERT_CPU_INSTANCES
#undef EXPERT_CPU_INSTANCE
#undef EXPERT_CPU_TEMPLATE
#endif
