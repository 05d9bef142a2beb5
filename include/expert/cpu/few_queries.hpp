// Attention of a step of decoding: at most gemv_rows queries of bf16, each straight from where its keys and values lie,
// since no tile would have more than a row or two to share the packing of them. Equations and shapes as in
// ops/attention.hpp; probabilities are f32, and a query has the same bits alone and among others.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "expert/cpu/device.hpp"
#include "expert/cpu/kernels.hpp"
#include "expert/ops/attention.hpp"

namespace expert {
inline namespace v0 {
namespace detail {

inline constexpr std::int64_t keys_at_once = 64;

// The heads of one query that share their keys.
struct FewQueries {
  std::int64_t heads, head_dim;
  float scale;
  std::int64_t stride;  // from a key to the next, and from a value

  // Numbers of a query, or of its sums: both lie as vectors of pairs give them.
  std::int64_t padded() const noexcept { return (head_dim + 31) / 32 * 32; }
  std::int64_t scratch_floats() const noexcept { return 2 * keys_at_once + heads * (2 * padded() + 2); }

  // q, out: (heads, head_dim) side by side; lse: (heads)
  template <class K>
  void attend(const bf16* q, const bf16* k, const bf16* v, const KeyRanges& keys, float* scratch, bf16* out,
              float* lse) const noexcept {
    if (heads % 2 == 0)  // two heads unpack their keys once
      attend<K, 2>(q, k, v, keys, scratch, out, lse);
    else
      attend<K, 1>(q, k, v, keys, scratch, out, lse);
  }

 private:
  template <class K, int R>  // R heads at once
  void attend(const bf16* q, const bf16* k, const bf16* v, const KeyRanges& keys, float* scratch, bf16* out,
              float* lse) const noexcept {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const std::int64_t D = head_dim, P = padded();
    float *scores = scratch, *queries = scores + R * keys_at_once, *sums = queries + heads * P, *max = sums + heads * P,
          *sum = max + heads;
    for (std::int64_t h = 0; h < heads; h += R) K::widen_pairs(R, R, D, q + h * D, D, queries + h * P);
    K::fill_row(heads * P, 0.0f, sums);
    K::fill_row(heads, -infinity, max);
    K::fill_row(heads, 0.0f, sum);
    const auto range = [&](std::int64_t begin, std::int64_t end) noexcept {
      for (std::int64_t j = begin; j < end; j += keys_at_once)
        for (std::int64_t h = 0; h < heads; h += R) {
          const std::int64_t n = std::min(keys_at_once, end - j), at = j * stride;
          K::template dots<R>(n, D, k + at, v + at, stride, queries + h * P, scores, n);
          for (std::int64_t r = 0; r < R; ++r)
            K::online_softmax_row(n, n, scale, scores + r * n, scores + r * n, max[h + r], sum[h + r], P,
                                  sums + (h + r) * P);
          K::template add_weighted_rows<R>(n, D, scores, v + at, stride, sums + h * P, P);
        }
    };
    range(keys.p0, keys.p1);
    range(keys.d0, keys.d1);
    for (std::int64_t h = 0; h < heads; ++h) {
      K::in_order(D, sums + h * P, queries + h * P);
      K::divide_row(D, queries + h * P, sum[h] > 0 ? sum[h] : 1.0f, out + h * D);
      lse[h] = sum[h] > 0 ? max[h] + std::log(sum[h]) : -infinity;
    }
  }
};

// False where this is not the way: another type, more queries, or heads too many or too wide for the scratch of a
// thread.
template <class T>
bool attend(Cpu& cpu, std::int64_t queries, std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim,
            float scale, const T* q, std::int64_t q_stride, const T* k, const T* v, HeadLayout kv,
            const KeyRanges* keys, T* out, std::int64_t out_stride, float* lse) noexcept {
  if constexpr (std::is_same_v<T, bf16>) {
    const FewQueries few{heads / kv_heads, head_dim, scale, kv.token};
    if (queries > gemv_rows || few.scratch_floats() > gemm_workspace_floats) return false;
    with_kernels(cpu.isa, [&](auto kernels) noexcept {
      cpu.pool->parallel_for(queries * kv_heads, [&](std::int64_t i, int thread) noexcept {
        const std::int64_t t = i / kv_heads, head = i % kv_heads, first = head * few.heads;
        few.attend<decltype(kernels)>(q + t * q_stride + first * head_dim, k + head * kv.head, v + head * kv.head,
                                      keys[t], cpu.gemm_workspace(thread), out + t * out_stride + first * head_dim,
                                      lse + t * heads + first);
      });
    });
    return true;
  }
  return false;
}

}  // namespace detail
}  // namespace v0
}  // namespace expert
