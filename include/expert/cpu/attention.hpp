// Document-masked attention on the CPU, forward and backward: see ops/attention.hpp for the equations and shapes.
#pragma once
#include <algorithm>
#include <cstdint>

#include "expert/cpu/device.hpp"
#include "expert/ops/attention.hpp"

namespace expert {
inline namespace v0 {

template <class T>
void attention_forward(Cpu& cpu, std::int64_t queries, std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim,
                       float scale, const T* q, std::int64_t q_stride, const T* k, const T* v, std::int64_t kv_stride,
                       const KeyRanges* keys, T* out, std::int64_t out_stride, float* lse) noexcept {
  cpu.pool->parallel_for(queries, [&](std::int64_t t, int) noexcept {
    reference::attention_forward(1, heads, kv_heads, head_dim, scale, q + t * q_stride, q_stride, k, v, kv_stride, keys + t,
                                 out + t * out_stride, out_stride, lse + t * heads);
  });
}

template <class T>
void attention_backward(Cpu&, std::int64_t queries, std::int64_t keys_count, std::int64_t heads, std::int64_t kv_heads,
                        std::int64_t head_dim, float scale, const T* q, std::int64_t q_stride, const T* k, const T* v,
                        std::int64_t kv_stride, const KeyRanges* keys, const T* out, std::int64_t out_stride,
                        const float* lse, const T* d_out, std::int64_t d_out_stride, T* d_q, std::int64_t d_q_stride, T* d_k,
                        T* d_v, std::int64_t d_kv_stride) noexcept {
  reference::attention_backward(queries, keys_count, heads, kv_heads, head_dim, scale, q, q_stride, k, v, kv_stride, keys, out,
                                out_stride, lse, d_out, d_out_stride, d_q, d_q_stride, d_k, d_v, d_kv_stride);
}

}  // namespace v0
}  // namespace expert
