// Document-masked attention on the CPU, forward and backward: equations and shapes as in ops/attention.hpp.
//
// A task takes one key head, the query heads that share it, and a tile of queries; it walks their keys in tiles with an
// online softmax, so nothing of size (queries, keys) exists and keys outside the ranges cost nothing. Few queries of
// bf16 go another way (few_queries.hpp). Queries of one tile begin their ranges at the same keys: a token's bits depend
// on its own query and keys only, not on what it is packed with, and a key that no query of a document sees is never
// read on its behalf. Sums are f32, rounded to T once; so are probabilities, but where bf16 is multiplied in pairs:
// there they and the gradients of the scores are rounded before the product with the values, as PyTorch's flash
// attention does on the CPU. Backward takes a stripe of keys at a time, and all queries that look at it: d_k and d_v of
// the stripe, and d_q of the queries that look nowhere else. The d_q of the others takes a second run over their tiles.
// Each sum has a fixed order whatever the thread count. All scratch is the workspace of the thread.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "expert/cpu/device.hpp"
#include "expert/cpu/few_queries.hpp"
#include "expert/cpu/kernels.hpp"
#include "expert/ops/attention.hpp"

namespace expert {
inline namespace v0 {
namespace detail {

inline constexpr std::int64_t attention_keys = 128;  // of a tile, and more than its (query, head) pairs at most
constexpr std::int64_t stripe_keys(std::int64_t head_dim) {
  return head_dim <= 128 ? 4 * attention_keys : head_dim <= 256 ? 2 * attention_keys : attention_keys;
}

// The arguments of the op, and which heads and tokens make a tile.
template <class T>
struct AttentionTiles {
  std::int64_t queries, heads, kv_heads, head_dim;
  float scale;
  const T *q, *k, *v;
  std::int64_t q_stride;
  HeadLayout kv;
  const KeyRanges* keys;
  std::int64_t rows;  // (query, head) pairs of a tile at most

  std::int64_t group() const noexcept { return heads / kv_heads; }
  std::int64_t head_block() const noexcept { return std::min(group(), rows); }
  std::int64_t head_blocks() const noexcept { return (group() + head_block() - 1) / head_block(); }
  std::int64_t token_block() const noexcept { return rows / head_block(); }
  std::int64_t token_tiles() const noexcept { return (queries + token_block() - 1) / token_block(); }

  // Keys of a stripe: what their gradients take in f32 is the same for every head_dim up to 512.
  std::int64_t stripe() const noexcept { return stripe_keys(head_dim); }
  // The stripe that holds all keys that token t looks at; -1 where there is no such one.
  std::int64_t stripe_of(std::int64_t t) const noexcept {
    const KeyRanges& r = keys[t];
    const bool prefix = r.p0 < r.p1, document = r.d0 < r.d1;
    if (!prefix && !document) return -1;
    const std::int64_t first = prefix && document ? std::min(r.p0, r.d0)
                               : prefix           ? r.p0
                                                  : r.d0,
                       last = prefix && document ? std::max(r.p1, r.d1) - 1
                              : prefix           ? r.p1 - 1
                                                 : r.d1 - 1;
    return first / stripe() == last / stripe() ? first / stripe() : -1;
  }

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
  // f(row, numbers) for their rows of x (stride numbers per token, head_dim per head), fetched ahead: they lie too far
  // apart for the hardware to do it.
  template <class T, class F>
  void for_rows(T* x, std::int64_t stride, std::int64_t head_dim, F&& f) const noexcept {
    constexpr std::int64_t ahead = 12, line = 64 / std::int64_t{sizeof(T)};
    for (std::int64_t i = 0, r = 0; i < tokens; ++i) {
      T* token = x + (first + i) * stride + head * head_dim;
      for (std::int64_t d = 0; i + ahead < tokens && d < heads * head_dim; d += line)
        __builtin_prefetch(token + ahead * stride + d, 0, 2);
      for (std::int64_t h = 0; h < heads; ++h, ++r) f(r, token + h * head_dim);
    }
  }
};

// The products of a tile of queries ("rows") with a tile of keys, in f32. Rows are packed (attention_kernels.inc).
template <class K, class T>
class RowProducts {
 public:
  using Kernels = K;
  using Weight = float;
  static constexpr std::int64_t rows = 126;          // nine register tiles of 14
  static constexpr std::int64_t ld = gemm_a_stride;  // of scores: they are the packed left side of the next product
  static constexpr std::int64_t row_step = 1;        // products with rows begin at a multiple of it
  static constexpr std::int64_t sum_margin = 0;      // rows of sums beyond the last that are written and put back
  static std::int64_t width(std::int64_t head_dim) { return head_dim; }  // of rows of sums
  static std::int64_t row_floats(std::int64_t head_dim) {
    return rows * gemm_a_stride * ((head_dim + gemm_k_block - 1) / gemm_k_block);
  }
  static std::int64_t scratch_floats(std::int64_t) { return gemm_k_block * 32 + attention_keys * gemm_a_stride; }
  static std::int64_t kept_floats(std::int64_t) { return 0; }  // needed behind the scratch

  RowProducts(float* scratch, float*, std::int64_t, std::int64_t head_dim) noexcept
      : head_dim_(head_dim), panel_(scratch), transposed_(scratch + gemm_k_block * 32) {}

  void load(const AttentionRun& run, const T* x, std::int64_t stride, float* to) const noexcept {
    run.for_rows(x, stride, head_dim_, [&](std::int64_t r, const T* row) noexcept {
      for (std::int64_t d = 0; d < head_dim_; d += gemm_k_block) {
        const std::int64_t n = std::min(gemm_k_block, head_dim_ - d);
        K::pack_copy(row + d, 0, 1, n, to + d / gemm_k_block * run.rows() * gemm_a_stride + r * gemm_a_stride,
                     gemm_a_stride, n);
      }
    });
  }
  void load_columns(const AttentionRun&, float*) const noexcept {}  // what add_transposed needs besides
  // out (m, n) = rows [r0, r0 + m) . k (n, head_dim)^T
  void scores(const AttentionRun& run, std::int64_t r0, std::int64_t m, std::int64_t n, const float* from, const T* k,
              std::int64_t k_stride, float* out) const noexcept {
    K::attention_scores(m, n, head_dim_, from + r0 * gemm_a_stride, run.rows() * gemm_a_stride, k, k_stride, panel_,
                        out);
  }
  static std::int64_t padded(std::int64_t n) { return n; }  // weights of a row; those behind n are 0
  // out (m, head_dim) += weights (m, n) . right (n, head_dim)
  void add(std::int64_t m, std::int64_t n, const float* weights, const T* right, std::int64_t right_stride,
           float* out) const noexcept {
    K::attention_accumulate(m, head_dim_, n, weights, right, right_stride, panel_, out, head_dim_);
  }
  // out (n, head_dim) += weights (m, n)^T . rows [r0, r0 + m)
  void add_transposed(const AttentionRun& run, std::int64_t r0, std::int64_t m, std::int64_t n, const float* weights,
                      const float* from, float* out) const noexcept {
    K::pack_transposed(weights, gemm_a_stride, m, n, transposed_, gemm_a_stride, m);
    for (std::int64_t d = 0; d < head_dim_; d += gemm_k_block)
      K::attention_accumulate(n, std::min(gemm_k_block, head_dim_ - d), m, transposed_,
                              from + d / gemm_k_block * run.rows() * gemm_a_stride + r0 * gemm_a_stride, gemm_a_stride,
                              panel_, out + d, head_dim_);
  }

 private:
  std::int64_t head_dim_;
  float *panel_, *transposed_;
};

// The same in pairs of bf16, with sums in f32. Rows are (rows, width) of bf16; weights are bf16 at the beginning of the
// row of scores that they come from. Tiles of both are loaded from where they lie, and sums are stored to where they
// belong. Tiles of keys and values are packed once and kept for the next queries as long as there is room.
template <class K>
class PairProducts {
 public:
  using Kernels = K;
  using Weight = bf16;
  static constexpr std::int64_t rows = 128;
  static constexpr std::int64_t ld = attention_keys;
  static constexpr std::int64_t row_step = 32;
  static constexpr std::int64_t sum_margin = 16;  // a tile may begin at any row
  static std::int64_t width(std::int64_t head_dim) { return (head_dim + 31) / 32 * 32; }
  static std::int64_t row_floats(std::int64_t head_dim) { return (2 * rows + 16) * width(head_dim) / 2; }
  static std::int64_t scratch_floats(std::int64_t head_dim) { return transposed_floats + 16 * width(head_dim); }
  static std::int64_t kept_floats(std::int64_t head_dim) { return tile_floats(head_dim); }

  PairProducts(float* scratch, float* rest, std::int64_t rest_floats, std::int64_t head_dim) noexcept
      : head_dim_(head_dim),
        width_(width(head_dim)),
        transposed_(reinterpret_cast<std::uint32_t*>(scratch)),
        saved_(scratch + transposed_floats),
        kept_tiles_(reinterpret_cast<std::uint32_t*>(rest)),
        most_kept_(std::min<std::int64_t>(std::ssize(kept_), rest_floats / tile_floats(head_dim))) {}

  void load(const AttentionRun& run, const bf16* x, std::int64_t stride, float* to) const noexcept {
    bf16* out = reinterpret_cast<bf16*>(to);
    run.for_rows(x, stride, head_dim_, [&](std::int64_t r, const bf16* row) noexcept {
      std::copy_n(row, head_dim_, out + r * width_);
      std::fill_n(out + r * width_ + head_dim_, width_ - head_dim_, bf16(0.0f));
    });
  }
  // The rows that were loaded, as tiles of the right side of a product, behind them.
  void load_columns(const AttentionRun& run, float* rows_of) const noexcept {
    K::pack_panel({reinterpret_cast<const bf16*>(rows_of), width_, false}, 0, head_dim_, 0, run.rows(),
                  columns(rows_of), strip(run.rows()));
  }
  void scores(const AttentionRun&, std::int64_t r0, std::int64_t m, std::int64_t n, const float* from, const bf16* k,
              std::int64_t k_stride, float* out) noexcept {
    multiply(m, n, width_ / 32, in_rows(words(from) + r0 * width_ / 2, width_), kept(k, k_stride, n, true),
             strip(width_), out, ld, true);
  }
  static std::int64_t padded(std::int64_t n) { return (n + 31) / 32 * 32; }
  void add(std::int64_t m, std::int64_t n, bf16* weights, const bf16* right, std::int64_t right_stride,
           float* out) noexcept {
    for (std::int64_t r = m; r < (m + 15) / 16 * 16; ++r) std::fill_n(weights + r * weight_ld, padded(n), bf16(0.0f));
    add_product(m, n, in_rows(words(weights), weight_ld), kept(right, right_stride, n, false), strip(n), out);
  }
  void add_transposed(const AttentionRun& run, std::int64_t r0, std::int64_t m, std::int64_t n, const bf16* weights,
                      float* from, float* out) noexcept {
    const std::int64_t depth = (m + 31) / 32;
    for (std::int64_t i = 0; i < n; i += 32)
      K::pack_pair_rows(true, weights + i, weight_ld, std::min<std::int64_t>(32, n - i), m,
                        transposed_ + i * depth * 16);
    add_product(n, m, {transposed_, isa::packed_rows, 512 * depth}, columns(from) + r0 * 8, strip(run.rows()), out);
  }

 private:
  struct Kept {
    const bf16* from = nullptr;
    std::int64_t n = 0;
    bool transposed = false;
  };
  struct Left {  // `block`: from 32 rows to the next
    const std::uint32_t* data;
    isa::TileLayout at;
    std::int64_t block;
  };
  static Left in_rows(const std::uint32_t* data, std::int64_t numbers) noexcept {
    return {data, {numbers / 2, 16, 8 * numbers}, 16 * numbers};
  }
  static constexpr std::int64_t transposed_floats = rows * attention_keys / 2;
  static constexpr std::int64_t weight_ld = 2 * ld;
  static std::int64_t strip(std::int64_t depth) { return (depth + 31) / 32 * 256; }  // dwords of 16 columns
  static std::int64_t tile_floats(std::int64_t head_dim) { return attention_keys * width(head_dim) / 2; }
  static const std::uint32_t* words(const void* numbers) noexcept { return static_cast<const std::uint32_t*>(numbers); }
  std::uint32_t* columns(float* rows_of) const noexcept {
    return reinterpret_cast<std::uint32_t*>(rows_of + (rows + 16) * width_ / 2);
  }

  // Tiles of `b` for n of k, or of its n columns where it is transposed.
  void pack(const DenseSource<bf16>& b, std::int64_t n, std::uint32_t* to) const noexcept {
    const std::int64_t columns = b.transposed ? n : head_dim_, depth = b.transposed ? head_dim_ : n;
    K::pack_panel(b, 0, columns, 0, depth, to, strip(depth));
  }
  const std::uint32_t* kept(const bf16* from, std::int64_t stride, std::int64_t n, bool transposed) noexcept {
    const auto tiles = [&](std::int64_t i) noexcept { return kept_tiles_ + i * tile_floats(head_dim_); };
    for (std::int64_t i = 0; i < most_kept_; ++i)
      if (kept_[i].from == from && kept_[i].n == n && kept_[i].transposed == transposed) return tiles(i);
    const std::int64_t i = std::exchange(next_, (next_ + 1) % most_kept_);
    kept_[i] = {from, n, transposed};
    pack({from, stride, transposed}, n, tiles(i));
    return tiles(i);
  }
  // c (m, n) = or += a . b, rows of c ldc apart; whole tiles of 16 rows are written.
  void multiply(std::int64_t m, std::int64_t n, std::int64_t depth, const Left& a, const std::uint32_t* b,
                std::int64_t strip, float* c, std::int64_t ldc, bool fresh) noexcept {
    for (std::int64_t i = 0; i < m; i += 32)
      for (std::int64_t j = 0; j < n; j += 32)
        product_.multiply(std::min<std::int64_t>(32, m - i), depth, a.data + i / 32 * a.block, a.at, b + j / 16 * strip,
                          j + 16 < n ? b + (j / 16 + 1) * strip : nullptr, c + i * ldc + j, {ldc, 16, 16 * ldc}, fresh,
                          beside_);
  }
  // out (m, width) += a (m, depth) . b (depth, head_dim). The last tile of rows covers rows that are another's: theirs
  // are put back, since zero times what is not finite is not zero.
  void add_product(std::int64_t m, std::int64_t depth, const Left& a, const std::uint32_t* b, std::int64_t strip,
                   float* out) noexcept {
    const std::int64_t beyond = (-m & 15) * width_;
    std::copy_n(out + m * width_, beyond, saved_);
    multiply(m, head_dim_, (depth + 31) / 32, a, b, strip, out, width_, false);
    std::copy_n(saved_, beyond, out + m * width_);
  }

  std::int64_t head_dim_, width_;
  std::uint32_t* transposed_;  // tiles of weights^T
  float* saved_;               // 16 rows of sums
  std::uint32_t* kept_tiles_;
  Kept kept_[64];
  std::int64_t most_kept_, next_ = 0;
  typename K::Product product_;
  typename K::NothingBeside beside_;
};

// Calls f(std::type_identity<Products>{}) with those of T on an instruction set.
template <class T, class F>
void with_attention_products(Isa set, F&& f) noexcept {
  if constexpr (std::is_same_v<T, bf16>)
    if (with_pair_kernels(set,
                          [&](auto kernels) noexcept { f(std::type_identity<PairProducts<decltype(kernels)>>{}); }))
      return;
  with_kernels(set, [&](auto kernels) noexcept { f(std::type_identity<RowProducts<decltype(kernels), T>>{}); });
}

// Where a task keeps what: forward the first four alone.
template <class Products>
struct AttentionScratch {
  float *products, *scores, *queries, *sums, *d_scores = nullptr, *d_out = nullptr, *d_k = nullptr, *d_v = nullptr;
  std::int64_t floats;

  AttentionScratch(float* base, std::int64_t head_dim, bool backward) noexcept {
    constexpr std::int64_t tile = Products::rows * Products::ld;
    float* next = base;
    const auto take = [&](std::int64_t n) noexcept { return std::exchange(next, next + (n + 15) / 16 * 16); };
    const auto take_sums = [&](std::int64_t rows) noexcept {
      return take((rows + Products::sum_margin) * Products::width(head_dim));
    };
    products = take(Products::scratch_floats(head_dim));
    scores = take(tile);
    queries = take(Products::row_floats(head_dim));
    sums = take_sums(Products::rows);
    if (backward) {
      d_scores = take(tile);
      d_out = take(Products::row_floats(head_dim));
      d_k = take_sums(stripe_keys(head_dim));
      d_v = take_sums(stripe_keys(head_dim));
    }
    floats = next - base;
  }
};

// What one thread works with. It uses all of the thread's workspace.
template <class Products, class T>
struct AttentionTask {
  using K = typename Products::Kernels;
  using Weight = typename Products::Weight;
  const AttentionTiles<T>& a;
  AttentionScratch<Products> s;
  Products products;
  std::int64_t width = Products::width(a.head_dim);

  AttentionTask(const AttentionTiles<T>& tiles, const Cpu& cpu, int thread, bool backward = false) noexcept
      : a(tiles),
        s(cpu.gemm_workspace(thread), tiles.head_dim, backward),
        products(s.products, cpu.gemm_workspace(thread) + s.floats, workspace_floats_per_thread - s.floats,
                 tiles.head_dim) {}

  const T* key_rows(const T* x, const AttentionRun& run, std::int64_t j) const noexcept {
    return x + j * a.kv.token + run.kv * a.kv.head;
  }
  // Weights take the place of the scores that they come from, row by row.
  static Weight* weights(float* scores) noexcept { return reinterpret_cast<Weight*>(scores); }
  // f(r0, rows) for the rows of the run that look at a tile of keys, from a multiple of row_step on.
  template <class Seen, class F>
  static void over_rows(const AttentionRun& run, const Seen& seen, F&& f) noexcept {
    const auto [begin, end] = run.looking(seen);
    if (begin == end) return;
    const std::int64_t r0 = begin * run.heads / Products::row_step * Products::row_step;
    f(r0, end * run.heads - r0);
  }

  void forward(const AttentionRun& run, T* out, std::int64_t out_stride, float* lse) noexcept {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const std::int64_t D = a.head_dim;
    float max[Products::rows], sum[Products::rows];
    std::fill_n(max, run.rows(), -infinity);
    std::fill_n(sum, run.rows(), 0.0f);
    K::fill_row(run.rows() * width, 0.0f, s.sums);
    products.load(run, a.q, a.q_stride, s.queries);
    run.for_key_tiles(
        a.keys, 0, std::numeric_limits<std::int64_t>::max(), [&](std::int64_t j, std::int64_t n, auto seen) noexcept {
          over_rows(run, seen, [&](std::int64_t r0, std::int64_t rows) noexcept {
            products.scores(run, r0, rows, n, s.queries, key_rows(a.k, run, j), a.kv.token, s.scores);
            for (std::int64_t r = 0; r < rows; ++r) {
              float* scores = s.scores + r * Products::ld;
              if (const std::int64_t visible = seen((r0 + r) / run.heads); visible > 0)
                K::online_softmax_row(visible, Products::padded(n), a.scale, scores, weights(scores), max[r0 + r],
                                      sum[r0 + r], D, s.sums + (r0 + r) * width);
              else
                K::fill_row(Products::padded(n), 0.0f, weights(scores));
            }
            products.add(rows, n, weights(s.scores), key_rows(a.v, run, j), a.kv.token, s.sums + r0 * width);
          });
        });
    run.for_rows(out, out_stride, D, [&](std::int64_t r, T* row) noexcept {
      K::divide_row(D, s.sums + r * width, sum[r] > 0 ? sum[r] : 1.0f, row);
      lse[(run.first + r / run.heads) * a.heads + run.head + r % run.heads] =
          sum[r] > 0 ? max[r] + std::log(sum[r]) : -infinity;
    });
  }
};

// out (T, heads * head_dim), d_out and lse of the forward pass.
template <class T>
struct AttentionGradients {
  const T *out, *d_out;
  std::int64_t out_stride, d_out_stride;
  const float* lse;
};

template <class Products, class T>
struct AttentionBackwardTask : AttentionTask<Products, T> {
  using typename AttentionTask<Products, T>::K;
  using AttentionTask<Products, T>::a, AttentionTask<Products, T>::s, AttentionTask<Products, T>::products;
  using AttentionTask<Products, T>::width, AttentionTask<Products, T>::key_rows;
  using AttentionTask<Products, T>::weights, AttentionTask<Products, T>::over_rows;
  const AttentionGradients<T>& g;
  float lse[Products::rows], delta[Products::rows];  // of the run's rows; delta = d_out . out

  AttentionBackwardTask(const AttentionTiles<T>& tiles, const AttentionGradients<T>& gradients, const Cpu& cpu,
                        int thread) noexcept
      : AttentionTask<Products, T>(tiles, cpu, thread, true), g(gradients) {}

  void begin(const AttentionRun& run) noexcept {
    products.load(run, a.q, a.q_stride, s.queries);
    products.load(run, g.d_out, g.d_out_stride, s.d_out);
    K::fill_row(run.rows() * width, 0.0f, s.sums);
    run.for_rows(g.out, g.out_stride, a.head_dim, [&](std::int64_t r, const T* out) noexcept {
      const std::int64_t t = run.first + r / run.heads, h = run.head + r % run.heads;
      lse[r] = g.lse[t * a.heads + h];
      delta[r] = K::dot(a.head_dim, g.d_out + t * g.d_out_stride + h * a.head_dim, out);
    });
  }
  // weights(s.scores) become p, weights(s.d_scores) the gradient of the scores, for `rows` rows from r0.
  template <class Seen>
  void tile(const AttentionRun& run, std::int64_t j, std::int64_t n, std::int64_t r0, std::int64_t rows,
            const Seen& seen) noexcept {
    products.scores(run, r0, rows, n, s.queries, key_rows(a.k, run, j), a.kv.token, s.scores);
    products.scores(run, r0, rows, n, s.d_out, key_rows(a.v, run, j), a.kv.token, s.d_scores);
    for (std::int64_t r = 0; r < rows; ++r) {
      float *scores = s.scores + r * Products::ld, *d_scores = s.d_scores + r * Products::ld;
      K::attention_gradient_row(seen((r0 + r) / run.heads), Products::padded(n), lse[r0 + r], delta[r0 + r], a.scale,
                                scores, d_scores, weights(scores), weights(d_scores));
    }
  }
  void add_queries(const AttentionRun& run, std::int64_t j, std::int64_t n, std::int64_t r0,
                   std::int64_t rows) noexcept {
    products.add(rows, n, weights(s.d_scores), key_rows(a.k, run, j), a.kv.token, s.sums + r0 * width);
  }
  // d_q of the tokens of the run whose stripe is `stripe`.
  void store_queries(const AttentionRun& run, std::int64_t stripe, T* d_q, std::int64_t d_q_stride) noexcept {
    run.for_rows(d_q, d_q_stride, a.head_dim, [&](std::int64_t r, T* row) noexcept {
      if (a.stripe_of(run.first + r / run.heads) == stripe) K::convert_row(a.head_dim, s.sums + r * width, row);
    });
  }

  // d_q of the tokens that look at several stripes, or at none.
  void queries(const AttentionRun& run, T* d_q, std::int64_t d_q_stride) noexcept {
    bool several = false;
    for (std::int64_t t = run.first; t < run.first + run.tokens; ++t) several = several || a.stripe_of(t) < 0;
    if (!several) return;
    begin(run);
    run.for_key_tiles(a.keys, 0, std::numeric_limits<std::int64_t>::max(),
                      [&](std::int64_t j, std::int64_t n, auto seen) noexcept {
                        over_rows(run, seen, [&](std::int64_t r0, std::int64_t rows) noexcept {
                          tile(run, j, n, r0, rows, seen);
                          add_queries(run, j, n, r0, rows);
                        });
                      });
    store_queries(run, -1, d_q, d_q_stride);
  }

  // Adds to s.d_k and s.d_v of a stripe of keys, which begins at `low`, what one run contributes; d_q of its tokens
  // that look at this stripe alone.
  void stripe(const AttentionRun& run, std::int64_t stripe, T* d_q, std::int64_t d_q_stride) noexcept {
    const std::int64_t low = stripe * a.stripe();
    bool begun = false, alone = false;
    for (std::int64_t t = run.first; t < run.first + run.tokens; ++t) alone = alone || a.stripe_of(t) == stripe;
    run.for_key_tiles(a.keys, low, low + a.stripe(), [&](std::int64_t j, std::int64_t n, auto seen) noexcept {
      over_rows(run, seen, [&](std::int64_t r0, std::int64_t rows) noexcept {
        if (!std::exchange(begun, true)) {
          begin(run);
          products.load_columns(run, s.queries);
          products.load_columns(run, s.d_out);
        }
        tile(run, j, n, r0, rows, seen);
        products.add_transposed(run, r0, rows, n, weights(s.scores), s.d_out, s.d_v + (j - low) * width);
        products.add_transposed(run, r0, rows, n, weights(s.d_scores), s.queries, s.d_k + (j - low) * width);
        if (alone) add_queries(run, j, n, r0, rows);
      });
    });
    if (alone) store_queries(run, stripe, d_q, d_q_stride);
  }
};

// f(worker, task) for every task, as threads come for them: later tiles of a document have more keys to look at. Each
// thread has one worker, a Worker{tiles..., cpu, thread}.
template <class Worker, class F, class... Tiles>
void deal_out(Cpu& cpu, std::int64_t tasks, F&& f, const Tiles&... tiles) noexcept {
  const std::int64_t hands = std::min<std::int64_t>(cpu.pool->size(), tasks);
  std::int64_t next = 0;
  cpu.pool->parallel_for(hands, [&](std::int64_t, int thread) noexcept {
    Worker worker(tiles..., cpu, thread);
    for (std::int64_t i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < tasks;) f(worker, i);
  });
}

// f(worker, run) for every run of every group of heads.
template <class Worker, class T, class F, class... More>
void attention_over_queries(Cpu& cpu, const AttentionTiles<T>& a, F&& f, const More&... more) noexcept {
  const auto task = [&](Worker& worker, std::int64_t index) noexcept {
    const std::int64_t heads_before = index / a.token_tiles(), kv = heads_before / a.head_blocks();
    const std::int64_t skip = heads_before % a.head_blocks() * a.head_block();
    const std::int64_t begin = index % a.token_tiles() * a.token_block(),
                       end = std::min(a.queries, begin + a.token_block());
    for (std::int64_t t = begin, n = 0; t < end; t += n) {
      n = a.run(t, end);
      f(worker, AttentionRun{t, n, kv * a.group() + skip, std::min(a.head_block(), a.group() - skip), kv});
    }
  };
  deal_out<Worker>(cpu, a.kv_heads * a.head_blocks() * a.token_tiles(), task, a, more...);
}

}  // namespace detail

// q, out: (queries, heads * head_dim) rows of the given strides; k, v: kv_heads of (keys, head_dim) that lie as `kv`
// says, for example a KV cache; keys: (queries), the two ranges of one query disjoint; lse: (queries, heads), minus
// infinity where a query has no key (its output is zero). heads is a multiple of kv_heads, head_dim at most
// max_head_dim.
template <class T>
void attention_forward(Cpu& cpu, std::int64_t queries, std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim,
                       float scale, const T* q, std::int64_t q_stride, const T* k, const T* v, HeadLayout kv,
                       const KeyRanges* keys, T* out, std::int64_t out_stride, float* lse) noexcept {
  if (detail::attend(cpu, queries, heads, kv_heads, head_dim, scale, q, q_stride, k, v, kv, keys, out, out_stride, lse))
    return;
  detail::with_attention_products<T>(cpu.isa, [&]<class Products>(std::type_identity<Products>) noexcept {
    const detail::AttentionTiles<T> tiles{queries, heads, kv_heads, head_dim, scale, q,
                                          k,       v,     q_stride, kv,       keys,  Products::rows};
    using Task = detail::AttentionTask<Products, T>;
    detail::attention_over_queries<Task>(cpu, tiles, [&](Task& task, const detail::AttentionRun& run) noexcept {
      task.forward(run, out, out_stride, lse);
    });
  });
}

// k, v: (keys_count, kv_heads * head_dim) rows of kv_stride. d_q is written; so are keys_count rows of d_k and d_v
// (d_kv_stride apart), zero where no query looks.
template <class T>
void attention_backward(Cpu& cpu, std::int64_t queries, std::int64_t keys_count, std::int64_t heads,
                        std::int64_t kv_heads, std::int64_t head_dim, float scale, const T* q, std::int64_t q_stride,
                        const T* k, const T* v, std::int64_t kv_stride, const KeyRanges* keys, const T* out,
                        std::int64_t out_stride, const float* lse, const T* d_out, std::int64_t d_out_stride, T* d_q,
                        std::int64_t d_q_stride, T* d_k, T* d_v, std::int64_t d_kv_stride) noexcept {
  const detail::AttentionGradients<T> gradients{out, d_out, out_stride, d_out_stride, lse};
  detail::with_attention_products<T>(cpu.isa, [&]<class Products>(std::type_identity<Products>) noexcept {
    const detail::AttentionTiles<T> tiles{
        queries, heads, kv_heads, head_dim, scale, q, k, v, q_stride, {kv_stride, head_dim}, keys, Products::rows};
    using Task = detail::AttentionBackwardTask<Products, T>;
    detail::attention_over_queries<Task>(
        cpu, tiles, [&](Task& task, const detail::AttentionRun& run) noexcept { task.queries(run, d_q, d_q_stride); },
        gradients);
    const std::int64_t stripes = (keys_count + tiles.stripe() - 1) / tiles.stripe();
    const auto stripe_of_head = [&](Task& task, std::int64_t index) noexcept {
      using K = typename Products::Kernels;
      const std::int64_t kv = index / stripes, stripe = index % stripes, low = stripe * tiles.stripe();
      const std::int64_t count = std::min(tiles.stripe(), keys_count - low);
      K::fill_row(count * task.width, 0.0f, task.s.d_k);
      K::fill_row(count * task.width, 0.0f, task.s.d_v);
      for (std::int64_t t = 0, n = 0; t < queries; t += n) {
        n = tiles.run(t, queries);
        for (std::int64_t h = 0; h < tiles.group(); h += tiles.head_block())
          task.stripe({t, n, kv * tiles.group() + h, std::min(tiles.head_block(), tiles.group() - h), kv}, stripe, d_q,
                      d_q_stride);
      }
      for (std::int64_t j = 0; j < count; ++j) {
        K::convert_row(head_dim, task.s.d_k + j * task.width, d_k + (low + j) * d_kv_stride + kv * head_dim);
        K::convert_row(head_dim, task.s.d_v + j * task.width, d_v + (low + j) * d_kv_stride + kv * head_dim);
      }
    };
    detail::deal_out<Task>(cpu, kv_heads * stripes, stripe_of_head, tiles, gradients);
  });
}

}  // namespace v0
}  // namespace expert
