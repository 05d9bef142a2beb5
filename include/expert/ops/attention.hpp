// attention: rotated queries, keys, values and their key ranges -> context, with the log-sum-exp for the backward pass.
//   s_j = scale * q . k_j over the keys j in [p0, p1) and [d0, d1),  p = softmax(s),  out = sum_j p_j v_j
// Grouped-query: head h reads key head h / (heads / kv_heads). One pass with an online softmax (Milakov and Gimelshein,
// 2018): the probabilities are never stored. A token without keys gives zeros and takes no gradient.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "expert/core/batch.hpp"
#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"

namespace expert {
inline namespace v0 {

inline constexpr std::int64_t max_head_dim = 512;  // the reference keeps one row of sums on the stack

namespace detail {
template <class F>
void for_each_key(const KeyRanges& r, F&& f) {
  for (std::int64_t j = r.p0; j < r.p1; ++j) f(j);
  for (std::int64_t j = r.d0; j < r.d1; ++j) f(j);
}
template <class T>
float dot(std::int64_t n, const T* a, const T* b) {
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += float(a[i]) * float(b[i]);
  return sum;
}
}  // namespace detail

namespace reference {

// q, out: (queries, heads * head_dim) rows of the given strides; k, v: kv_heads of (keys, head_dim) that lie as `kv`
// says; lse: (queries, heads), minus infinity where a query has no key.
template <class T>
void attention_forward(std::int64_t queries, std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim,
                       float scale, const T* q, std::int64_t q_stride, const T* k, const T* v, HeadLayout kv,
                       const KeyRanges* keys, T* out, std::int64_t out_stride, float* lse) noexcept {
  for (std::int64_t t = 0; t < queries; ++t) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t head = h / (heads / kv_heads) * kv.head;
      const T* query = q + t * q_stride + h * head_dim;
      float max = -std::numeric_limits<float>::infinity(), sum = 0, acc[max_head_dim] = {};
      detail::for_each_key(keys[t], [&](std::int64_t j) {
        const float s = scale * detail::dot(head_dim, query, k + j * kv.token + head);
        if (s > max) {
          const float shrink = std::exp(max - s);
          sum *= shrink;
          for (std::int64_t d = 0; d < head_dim; ++d) acc[d] *= shrink;
          max = s;
        }
        const float p = std::exp(s - max);
        sum += p;
        const T* value = v + j * kv.token + head;
        for (std::int64_t d = 0; d < head_dim; ++d) acc[d] += p * float(value[d]);
      });
      T* o = out + t * out_stride + h * head_dim;
      for (std::int64_t d = 0; d < head_dim; ++d) o[d] = T(sum > 0 ? acc[d] / sum : 0.0f);
      lse[t * heads + h] = sum > 0 ? max + std::log(sum) : -std::numeric_limits<float>::infinity();
    }
  }
}

// k, v: (keys_count, kv_heads * head_dim) rows of kv_stride. d_q is written; d_k and d_v (keys_count rows of
// d_kv_stride) are written too, zero where no query looks.
//   p = exp(s - lse),  d_v_j = sum p d_out,  d_s = p (d_out . v_j - d_out . out),  d_q = scale sum_j d_s k_j,  d_k_j =
//   scale sum d_s q
// Sums over queries run in f32 and are rounded to T once: one key row at a time, so that no f32 copy of d_k is needed.
template <class T>
void attention_backward(std::int64_t queries, std::int64_t keys_count, std::int64_t heads, std::int64_t kv_heads,
                        std::int64_t head_dim, float scale, const T* q, std::int64_t q_stride, const T* k, const T* v,
                        std::int64_t kv_stride, const KeyRanges* keys, const T* out, std::int64_t out_stride,
                        const float* lse, const T* d_out, std::int64_t d_out_stride, T* d_q, std::int64_t d_q_stride,
                        T* d_k, T* d_v, std::int64_t d_kv_stride) noexcept {
  const std::int64_t group = heads / kv_heads;
  const auto d_score = [&](std::int64_t t, std::int64_t h, std::int64_t j, float& p) {
    const std::int64_t kv = h / group * head_dim, at = h * head_dim;
    const T* go = d_out + t * d_out_stride + at;
    p = std::exp(scale * detail::dot(head_dim, q + t * q_stride + at, k + j * kv_stride + kv) - lse[t * heads + h]);
    return p *
           (detail::dot(head_dim, go, v + j * kv_stride + kv) - detail::dot(head_dim, go, out + t * out_stride + at));
  };
  for (std::int64_t t = 0; t < queries; ++t) {
    for (std::int64_t h = 0; h < heads; ++h) {
      float acc[max_head_dim] = {}, p = 0;
      detail::for_each_key(keys[t], [&](std::int64_t j) {
        const float ds = scale * d_score(t, h, j, p);
        const T* key = k + j * kv_stride + h / group * head_dim;
        for (std::int64_t d = 0; d < head_dim; ++d) acc[d] += ds * float(key[d]);
      });
      for (std::int64_t d = 0; d < head_dim; ++d) d_q[t * d_q_stride + h * head_dim + d] = T(acc[d]);
    }
  }
  for (std::int64_t j = 0; j < keys_count; ++j) {
    for (std::int64_t g = 0; g < kv_heads; ++g) {
      float acc_k[max_head_dim] = {}, acc_v[max_head_dim] = {}, p = 0;
      for (std::int64_t t = 0; t < queries; ++t) {
        const KeyRanges& r = keys[t];
        if (!((j >= r.p0 && j < r.p1) || (j >= r.d0 && j < r.d1))) continue;
        for (std::int64_t h = g * group; h < (g + 1) * group; ++h) {
          const float ds = scale * d_score(t, h, j, p);
          const T *query = q + t * q_stride + h * head_dim, *go = d_out + t * d_out_stride + h * head_dim;
          for (std::int64_t d = 0; d < head_dim; ++d) {
            acc_k[d] += ds * float(query[d]);
            acc_v[d] += p * float(go[d]);
          }
        }
      }
      for (std::int64_t d = 0; d < head_dim; ++d) {
        d_k[j * d_kv_stride + g * head_dim + d] = T(acc_k[d]);
        d_v[j * d_kv_stride + g * head_dim + d] = T(acc_v[d]);
      }
    }
  }
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
