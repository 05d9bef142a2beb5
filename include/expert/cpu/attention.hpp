// Document-masked attention on the CPU, forward and backward: equations and shapes as in ops/attention.hpp.
//
// A task takes one key head, the query heads that share it, and a tile of queries; it walks their keys in tiles with an
// online softmax, so nothing of size (queries, keys) exists and keys outside the ranges cost nothing. Queries of one
// tile begin their ranges at the same keys: a token's bits depend on its own query and keys only, not on what it is
// packed with, and a key that no query of a document sees is never read on its behalf. Sums and probabilities are f32,
// rounded to T once. Backward runs twice over the tiles: by queries for d_q, by keys for d_k and d_v, each sum in a
// fixed order whatever the thread count. All scratch is the workspace of the thread.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "expert/cpu/device.hpp"
#include "expert/cpu/kernels.hpp"
#include "expert/ops/attention.hpp"

namespace expert {
inline namespace v0 {
namespace detail {

inline constexpr std::int64_t attention_rows = 126;  // (query, head) pairs of a tile: nine register tiles of 14
inline constexpr std::int64_t attention_keys = 128;

// Where a task keeps what, in the order of use. Rows are packed (see attention_kernels.inc).
struct AttentionScratch {
  float *queries, *d_out, *scores, *d_scores, *transposed, *panel, *sum_a, *sum_b;
  std::int64_t floats;

  AttentionScratch(float* base, std::int64_t head_dim) noexcept {
    const std::int64_t blocks = (head_dim + gemm_k_block - 1) / gemm_k_block, tile = attention_rows * gemm_a_stride;
    float* next = base;
    const auto take = [&](std::int64_t n) noexcept { return std::exchange(next, next + (n + 15) / 16 * 16); };
    panel = take(gemm_k_block * 32);
    scores = take(tile);
    queries = take(tile * blocks);
    sum_a = take(attention_keys * head_dim);
    d_scores = take(tile);
    d_out = take(tile * blocks);
    sum_b = take(attention_keys * head_dim);
    transposed = take(attention_keys * gemm_a_stride);
    floats = next - base;
  }
};

// The arguments of the op, and which heads and tokens make a tile.
template <class T>
struct AttentionTiles {
  std::int64_t queries, heads, kv_heads, head_dim;
  float scale;
  const T *q, *k, *v;
  std::int64_t q_stride, kv_stride;
  const KeyRanges* keys;

  std::int64_t group() const noexcept { return heads / kv_heads; }
  std::int64_t head_block() const noexcept { return std::min(group(), attention_rows); }
  std::int64_t head_blocks() const noexcept { return (group() + head_block() - 1) / head_block(); }
  std::int64_t token_block() const noexcept { return attention_rows / head_block(); }
  std::int64_t token_tiles() const noexcept { return (queries + token_block() - 1) / token_block(); }

  // Tokens from `first` on, at most token_block() and before `end`, whose ranges begin at the same keys.
  std::int64_t run(std::int64_t first, std::int64_t end) const noexcept {
    std::int64_t t = first + 1;
    end = std::min(end, first + token_block());
    while (t < end && keys[t].p0 == keys[first].p0 && keys[t].d0 == keys[first].d0) ++t;
    return t - first;
  }
};

// Some queries of one run with some heads of one group. Row r is token first + r / heads, head head + r % heads.
struct AttentionRun {
  std::int64_t first, tokens, head, heads, kv;

  std::int64_t rows() const noexcept { return tokens * heads; }
  // f(first key, number of keys, seen) for each tile of keys in [low, high), prefix first; seen(i) is how many of its
  // keys token first + i may look at: always the first ones. Tiles are counted from where the range begins.
  template <class F>
  void for_key_tiles(const KeyRanges* keys, std::int64_t low, std::int64_t high, F&& f) const noexcept {
    const auto range = [&](std::int64_t begin, auto end_of) noexcept {
      std::int64_t end = begin;
      for (std::int64_t i = 0; i < tokens; ++i) end = std::max<std::int64_t>(end, end_of(keys[first + i]));
      end = std::min(end, high);
      for (std::int64_t j = std::max(begin, low); j < end; j += attention_keys) {
        const std::int64_t count = std::min(attention_keys, end - j);
        f(j, count, [&, j, count](std::int64_t i) noexcept {
          return std::clamp<std::int64_t>(end_of(keys[first + i]) - j, 0, count);
        });
      }
    };
    range(keys[first].p0, [](const KeyRanges& r) noexcept { return r.p1; });
    range(keys[first].d0, [](const KeyRanges& r) noexcept { return r.d1; });
  }
  // The tokens [begin, end) of the run outside which no key of a tile is seen.
  template <class Seen>
  std::pair<std::int64_t, std::int64_t> looking(const Seen& seen) const noexcept {
    std::int64_t begin = 0, end = tokens;
    while (begin < end && seen(begin) == 0) ++begin;
    while (begin < end && seen(end - 1) == 0) --end;
    return {begin, end};
  }
  // Their rows of x (stride numbers per token, head_dim per head) as packed rows.
  template <class K, class T>
  void pack(const T* x, std::int64_t stride, std::int64_t head_dim, float* rows_out) const noexcept {
    for (std::int64_t r = 0; r < rows(); ++r)
      for (std::int64_t d = 0; d < head_dim; d += gemm_k_block) {
        const std::int64_t n = std::min(gemm_k_block, head_dim - d);
        K::pack_copy(x + (first + r / heads) * stride + (head + r % heads) * head_dim + d, 0, 1, n,
                     rows_out + d / gemm_k_block * rows() * gemm_a_stride + r * gemm_a_stride, gemm_a_stride, n);
      }
  }
};

template <class K, class T>
void attention_forward_run(const AttentionTiles<T>& a, const AttentionRun& run, AttentionScratch s, T* out,
                           std::int64_t out_stride, float* lse) noexcept {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const std::int64_t D = a.head_dim, block = run.rows() * gemm_a_stride;
  const T *k = a.k + run.kv * D, *v = a.v + run.kv * D;
  float max[attention_rows], sum[attention_rows];
  std::fill_n(max, run.rows(), -infinity);
  std::fill_n(sum, run.rows(), 0.0f);
  K::fill_row(run.rows() * D, 0.0f, s.sum_a);
  run.pack<K>(a.q, a.q_stride, D, s.queries);
  run.for_key_tiles(
      a.keys, 0, std::numeric_limits<std::int64_t>::max(), [&](std::int64_t j, std::int64_t n, auto seen) noexcept {
        const auto [begin, end] = run.looking(seen);
        const std::int64_t r0 = begin * run.heads, rows = (end - begin) * run.heads;
        K::attention_scores(rows, n, D, a.scale, s.queries + r0 * gemm_a_stride, block, k + j * a.kv_stride,
                            a.kv_stride, s.panel, s.scores);
        for (std::int64_t r = 0; r < rows; ++r) {
          float* scores = s.scores + r * gemm_a_stride;
          if (const std::int64_t visible = seen((r0 + r) / run.heads); visible > 0)
            K::online_softmax_row(visible, n, scores, max[r0 + r], sum[r0 + r], D, s.sum_a + (r0 + r) * D);
          else
            K::fill_row(n, 0.0f, scores);
        }
        K::attention_accumulate(rows, D, n, s.scores, v + j * a.kv_stride, a.kv_stride, s.panel, s.sum_a + r0 * D, D);
      });
  for (std::int64_t r = 0; r < run.rows(); ++r) {
    const std::int64_t t = run.first + r / run.heads, h = run.head + r % run.heads;
    K::divide_row(D, s.sum_a + r * D, sum[r] > 0 ? sum[r] : 1.0f, out + t * out_stride + h * D);
    lse[t * a.heads + h] = sum[r] > 0 ? max[r] + std::log(sum[r]) : -infinity;
  }
}

// What both backward passes need of a tile: s.scores becomes p, s.d_scores the gradient of the scores, for `rows` rows
// from r0.
template <class K, class T, class Seen>
void attention_gradient_tile(const AttentionTiles<T>& a, const AttentionRun& run, const AttentionScratch& s,
                             const float* lse, const float* delta, std::int64_t j, std::int64_t n, std::int64_t r0,
                             std::int64_t rows, const Seen& seen) noexcept {
  const std::int64_t D = a.head_dim, block = run.rows() * gemm_a_stride, at = j * a.kv_stride + run.kv * D;
  K::attention_scores(rows, n, D, a.scale, s.queries + r0 * gemm_a_stride, block, a.k + at, a.kv_stride, s.panel,
                      s.scores);
  K::attention_scores(rows, n, D, 1.0f, s.d_out + r0 * gemm_a_stride, block, a.v + at, a.kv_stride, s.panel,
                      s.d_scores);
  for (std::int64_t r = 0; r < rows; ++r)
    K::attention_gradient_row(seen((r0 + r) / run.heads), n, lse[r0 + r], delta[r0 + r], a.scale,
                              s.scores + r * gemm_a_stride, s.d_scores + r * gemm_a_stride);
}

// out (T, heads * head_dim), d_out and lse of the forward pass.
template <class T>
struct AttentionGradients {
  const T *out, *d_out;
  std::int64_t out_stride, d_out_stride;
  const float* lse;

  // Packs the queries and d_out of a run, and takes its lse and delta = d_out . out, by row.
  template <class K>
  void prepare(const AttentionTiles<T>& a, const AttentionRun& run, const AttentionScratch& s, float* lse_rows,
               float* delta) const noexcept {
    run.pack<K>(a.q, a.q_stride, a.head_dim, s.queries);
    run.pack<K>(d_out, d_out_stride, a.head_dim, s.d_out);
    for (std::int64_t r = 0; r < run.rows(); ++r) {
      const std::int64_t t = run.first + r / run.heads, h = run.head + r % run.heads;
      lse_rows[r] = lse[t * a.heads + h];
      delta[r] = K::dot(a.head_dim, d_out + t * d_out_stride + h * a.head_dim, out + t * out_stride + h * a.head_dim);
    }
  }
};

template <class K, class T>
void attention_backward_queries(const AttentionTiles<T>& a, const AttentionGradients<T>& g, const AttentionRun& run,
                                AttentionScratch s, T* d_q, std::int64_t d_q_stride) noexcept {
  const std::int64_t D = a.head_dim;
  float lse[attention_rows], delta[attention_rows];
  g.template prepare<K>(a, run, s, lse, delta);
  K::fill_row(run.rows() * D, 0.0f, s.sum_a);
  run.for_key_tiles(a.keys, 0, std::numeric_limits<std::int64_t>::max(),
                    [&](std::int64_t j, std::int64_t n, auto seen) noexcept {
                      const auto [begin, end] = run.looking(seen);
                      const std::int64_t r0 = begin * run.heads, rows = (end - begin) * run.heads;
                      attention_gradient_tile<K>(a, run, s, lse, delta, j, n, r0, rows, seen);
                      K::attention_accumulate(rows, D, n, s.d_scores, a.k + j * a.kv_stride + run.kv * D, a.kv_stride,
                                              s.panel, s.sum_a + r0 * D, D);
                    });
  for (std::int64_t r = 0; r < run.rows(); ++r)
    K::divide_row(D, s.sum_a + r * D, 1.0f,
                  d_q + (run.first + r / run.heads) * d_q_stride + (run.head + r % run.heads) * D);
}

// Adds to d_k (s.sum_a) and d_v (s.sum_b) of the keys [low, high) what one run contributes.
template <class K, class T>
void attention_backward_keys(const AttentionTiles<T>& a, const AttentionGradients<T>& g, const AttentionRun& run,
                             const AttentionScratch& s, std::int64_t low, std::int64_t high) noexcept {
  const std::int64_t D = a.head_dim;
  float lse[attention_rows], delta[attention_rows];
  bool prepared = false;
  run.for_key_tiles(a.keys, low, high, [&](std::int64_t j, std::int64_t n, auto seen) noexcept {
    const auto [begin, end] = run.looking(seen);
    if (begin == end) return;
    if (!std::exchange(prepared, true)) g.template prepare<K>(a, run, s, lse, delta);
    const std::int64_t r0 = begin * run.heads, rows = (end - begin) * run.heads;
    attention_gradient_tile<K>(a, run, s, lse, delta, j, n, r0, rows, seen);
    const auto add = [&](const float* weights, const float* packed, float* sum) noexcept {
      K::pack_transposed(weights, gemm_a_stride, rows, n, s.transposed, gemm_a_stride, rows);
      for (std::int64_t d = 0; d < D; d += gemm_k_block)
        K::attention_accumulate(n, std::min(gemm_k_block, D - d), rows, s.transposed,
                                packed + d / gemm_k_block * run.rows() * gemm_a_stride + r0 * gemm_a_stride,
                                gemm_a_stride, s.panel, sum + (j - low) * D + d, D);
    };
    add(s.scores, s.d_out, s.sum_b);
    add(s.d_scores, s.queries, s.sum_a);
  });
}

// f(task, workspace) for every task, dealt out in turn: later tiles of a document have more keys to look at.
template <class F>
void deal_out(Cpu& cpu, std::int64_t tasks, F&& f) noexcept {
  const std::int64_t hands = std::min<std::int64_t>(cpu.pool->size(), tasks);
  cpu.pool->parallel_for(hands, [&](std::int64_t hand, int thread) noexcept {
    for (std::int64_t i = hand; i < tasks; i += hands) f(i, cpu.gemm_workspace(thread));
  });
}

// f(run, workspace) for every run of every group of heads.
template <class T, class F>
void attention_over_queries(Cpu& cpu, const AttentionTiles<T>& a, F&& f) noexcept {
  deal_out(cpu, a.kv_heads * a.head_blocks() * a.token_tiles(), [&](std::int64_t task, float* workspace) noexcept {
    const std::int64_t heads_before = task / a.token_tiles(), kv = heads_before / a.head_blocks();
    const std::int64_t skip = heads_before % a.head_blocks() * a.head_block();
    const std::int64_t begin = task % a.token_tiles() * a.token_block(),
                       end = std::min(a.queries, begin + a.token_block());
    for (std::int64_t t = begin, n = 0; t < end; t += n) {
      n = a.run(t, end);
      f(AttentionRun{t, n, kv * a.group() + skip, std::min(a.head_block(), a.group() - skip), kv}, workspace);
    }
  });
}

}  // namespace detail

// q, out: (queries, heads * head_dim) rows of the given strides; k, v: (keys, kv_heads * head_dim) rows of kv_stride,
// for example a KV cache; keys: (queries), the two ranges of one query disjoint; lse: (queries, heads), minus infinity
// where a query has no key (its output is zero). heads is a multiple of kv_heads, head_dim at most max_head_dim.
template <class T>
void attention_forward(Cpu& cpu, std::int64_t queries, std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim,
                       float scale, const T* q, std::int64_t q_stride, const T* k, const T* v, std::int64_t kv_stride,
                       const KeyRanges* keys, T* out, std::int64_t out_stride, float* lse) noexcept {
  const detail::AttentionTiles<T> tiles{queries, heads, kv_heads, head_dim, scale, q, k, v, q_stride, kv_stride, keys};
  with_kernels(cpu.isa, [&](auto kernels) noexcept {
    detail::attention_over_queries(cpu, tiles, [&](const detail::AttentionRun& run, float* workspace) noexcept {
      detail::attention_forward_run<decltype(kernels)>(tiles, run, {workspace, head_dim}, out, out_stride, lse);
    });
  });
}

// d_q is written; so are keys_count rows of d_k and d_v (d_kv_stride apart), zero where no query looks.
template <class T>
void attention_backward(Cpu& cpu, std::int64_t queries, std::int64_t keys_count, std::int64_t heads,
                        std::int64_t kv_heads, std::int64_t head_dim, float scale, const T* q, std::int64_t q_stride,
                        const T* k, const T* v, std::int64_t kv_stride, const KeyRanges* keys, const T* out,
                        std::int64_t out_stride, const float* lse, const T* d_out, std::int64_t d_out_stride, T* d_q,
                        std::int64_t d_q_stride, T* d_k, T* d_v, std::int64_t d_kv_stride) noexcept {
  const detail::AttentionTiles<T> tiles{queries, heads, kv_heads, head_dim, scale, q, k, v, q_stride, kv_stride, keys};
  const detail::AttentionGradients<T> gradients{out, d_out, out_stride, d_out_stride, lse};
  with_kernels(cpu.isa, [&](auto kernels) noexcept {
    using K = decltype(kernels);
    detail::attention_over_queries(cpu, tiles, [&](const detail::AttentionRun& run, float* workspace) noexcept {
      detail::attention_backward_queries<K>(tiles, gradients, run, {workspace, head_dim}, d_q, d_q_stride);
    });
    const std::int64_t key_tiles = (keys_count + detail::attention_keys - 1) / detail::attention_keys;
    detail::deal_out(cpu, kv_heads * key_tiles, [&](std::int64_t task, float* workspace) noexcept {
      const std::int64_t kv = task / key_tiles, low = task % key_tiles * detail::attention_keys;
      const std::int64_t count = std::min(detail::attention_keys, keys_count - low);
      const detail::AttentionScratch s(workspace, head_dim);
      K::fill_row(count * head_dim, 0.0f, s.sum_a);
      K::fill_row(count * head_dim, 0.0f, s.sum_b);
      for (std::int64_t t = 0, n = 0; t < queries; t += n) {
        n = tiles.run(t, queries);
        for (std::int64_t h = 0; h < tiles.group(); h += tiles.head_block())
          detail::attention_backward_keys<K>(
              tiles, gradients, {t, n, kv * tiles.group() + h, std::min(tiles.head_block(), tiles.group() - h), kv}, s,
              low, low + count);
      }
      for (std::int64_t j = 0; j < count; ++j) {
        K::divide_row(head_dim, s.sum_a + j * head_dim, 1.0f, d_k + (low + j) * d_kv_stride + kv * head_dim);
        K::divide_row(head_dim, s.sum_b + j * head_dim, 1.0f, d_v + (low + j) * d_kv_stride + kv * head_dim);
      }
    });
  });
}

}  // namespace v0
}  // namespace expert
