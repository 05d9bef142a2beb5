// rms_norm, qk_norm_rope, swiglu, residual, dropout, dora_backward and cross_entropy on the CPU: the ops of ops/ in
// vectors, rows (or columns) spread over the pool.
//
// Shapes, equations and rounding points are the reference's. Its sums run in one chain, these in the fixed order of
// vector_kernels.inc; exp is the kernels' own (1.1 units in the last place). A row's bits depend on that row and the
// instruction set, not on the thread count or the other rows.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "expert/cpu/device.hpp"
#include "expert/cpu/kernels.hpp"
#include "expert/cpu/ops.hpp"
#include "expert/ops/qk_norm_rope.hpp"

namespace expert {
inline namespace v0 {

namespace detail {
// f(kernels, row) for every row; a task takes as many rows as have about `piece` numbers.
template <class F>
void over_rows(Cpu& cpu, std::int64_t rows, std::int64_t cols, F&& f) noexcept {
  constexpr std::int64_t piece = std::int64_t{1} << 13;
  const std::int64_t each = std::max<std::int64_t>(1, piece / std::max<std::int64_t>(1, cols));
  with_kernels(cpu.isa, [&](auto kernels) noexcept {
    cpu.pool->parallel_for((rows + each - 1) / each, [&](std::int64_t i, int) noexcept {
      for (std::int64_t t = i * each; t < std::min(rows, (i + 1) * each); ++t) f(kernels, t);
    });
  });
}
// f(kernels, row, first column, columns, sums) for every row, where `sums` takes what rows add to `each` sums for every
// column: one list of them for each chunk of rows. Then done(kernels, first column, columns, sums, chunks). Columns are
// all that there are, as long as their sums have room, else multiples of `unit`: where two threads shared a row, the
// hardware would fetch for one what the other writes.
template <class F, class Done>
void over_rows_with_sums(Cpu& cpu, std::int64_t rows, std::int64_t cols, std::int64_t unit, std::int64_t each, F&& f,
                         Done&& done) noexcept {
  constexpr std::int64_t chunk = 64;
  const std::int64_t width = std::min(cols, shared_workspace_floats / (each * unit) * unit),
                     at_once = shared_workspace_floats / (each * width) * chunk;
  float* sums = cpu.shared_workspace();
  with_kernels(cpu.isa, [&](auto kernels) noexcept {
    for (std::int64_t j = 0; j < cols; j += width)
      for (std::int64_t first = 0; first < rows; first += at_once) {
        const std::int64_t count = std::min(at_once, rows - first), chunks = (count + chunk - 1) / chunk,
                           some = std::min(width, cols - j);
        cpu.pool->parallel_for(chunks, [&](std::int64_t i, int) noexcept {
          float* own = sums + i * each * some;
          std::fill_n(own, each * some, 0.0f);
          for (std::int64_t t = i * chunk; t < std::min(count, (i + 1) * chunk); ++t)
            f(kernels, first + t, j, some, own);
        });
        done(kernels, j, some, sums, chunks);
      }
  });
}
}  // namespace detail

// The columns of a projection's output on the way back: y = scale * z with DoRA (ops/dora.hpp), else y = z.
struct DoraColumns {
  const float *scale = nullptr, *norm = nullptr;  // (cols); null: no DoRA
  float* d_magnitude = nullptr;                   // (cols), added to

  explicit operator bool() const noexcept { return scale != nullptr; }
  const float* scale_from(std::int64_t column) const noexcept { return scale != nullptr ? scale + column : nullptr; }
  // Of `chunks` lists of sums of d_y z for `count` columns, `stride` numbers apart.
  template <class K>
  void add(K kernels, std::int64_t first, std::int64_t count, std::int64_t chunks, std::int64_t stride,
           const float* sums) const noexcept {
    if (scale != nullptr) kernels.magnitude_row(count, chunks, stride, sums, norm + first, d_magnitude + first);
  }
};

// n numbers, rounded to T.
template <class T>
void convert(Cpu& cpu, std::int64_t n, const float* from, T* to) noexcept {
  with_kernels(cpu.isa, [&](auto kernels) noexcept {
    parallel_pieces(cpu, n, std::int64_t{1} << 14, [&](std::int64_t first, std::int64_t count) noexcept {
      kernels.convert_row(count, from + first, to + first);
    });
  });
}

template <class T>
void rms_norm_forward(Cpu& cpu, std::int64_t rows, std::int64_t cols, float eps, const T* x, std::int64_t x_stride,
                      const T* weight, T* out, std::int64_t out_stride, float* rstd) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    rstd[t] = kernels.rms_norm_row(cols, eps, x + t * x_stride, weight, out + t * out_stride);
  });
}

template <class T>
void rms_norm_backward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* x, std::int64_t x_stride,
                       const T* weight, const float* rstd, const T* d_out, std::int64_t d_out_stride, T* d_x,
                       std::int64_t d_x_stride, bool accumulate) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    kernels.rms_norm_backward_row(cols, x + t * x_stride, weight, rstd[t], d_out + t * d_out_stride,
                                  d_x + t * d_x_stride, accumulate);
  });
}

// out_rows: where given, token t goes to place out_rows[t] of `out`, else to place t. head_dim is even.
template <class T>
void qk_norm_rope_forward(Cpu& cpu, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, float eps,
                          const T* z, const float* c, const T* weight, RopeTable table, const std::int32_t* positions,
                          T* out, HeadLayout layout, const std::int32_t* out_rows, float* rstd) noexcept {
  const std::int64_t half = head_dim / 2, width = heads * head_dim;
  detail::over_rows(cpu, tokens, width, [&](auto kernels, std::int64_t t) noexcept {
    T* token = out + (out_rows != nullptr ? std::int64_t{out_rows[t]} : t) * layout.token;
    const float *cos = table.cos + positions[t] * half, *sin = table.sin + positions[t] * half;
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t d = h * head_dim;
      rstd[t * heads + h] = kernels.qk_norm_rope_row(half, eps, z + t * width + d, c != nullptr ? c + d : nullptr,
                                                     weight, cos, sin, token + h * layout.head);
    }
  });
}

// d_out becomes the gradient of the projection's product, before DoRA's scale where there is one.
// partials: room for the gradient of `weight`, one row of head_dim per `chunk` rows of tokens; null when it is frozen,
// as it must be with DoRA.
template <class T>
void qk_norm_rope_backward(Cpu& cpu, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, const T* z,
                           const DoraColumns& dora, const T* weight, RopeTable table, const std::int32_t* positions,
                           const float* rstd, T* d_out, float* d_weight, float* partials, std::int64_t chunk) noexcept {
  const std::int64_t half = head_dim / 2, width = heads * head_dim, piece = d_weight != nullptr ? chunk : row_piece;
  const auto row = [=](auto kernels, std::int64_t t, std::int64_t d, const float* c, float* sums,
                       float* partial) noexcept {
    kernels.qk_norm_rope_backward_row(half, z + t * width + d, c, sums, weight, table.cos + positions[t] * half,
                                      table.sin + positions[t] * half, rstd[t * heads + d / head_dim],
                                      d_out + t * width + d, partial);
  };
  if (dora)
    return detail::over_rows_with_sums(
        cpu, tokens, width, head_dim, 1,
        [&](auto kernels, std::int64_t t, std::int64_t j, std::int64_t count, float* sums) noexcept {
          for (std::int64_t d = 0; d < count; d += head_dim)
            row(kernels, t, j + d, dora.scale + j + d, sums + d, nullptr);
        },
        [&](auto kernels, std::int64_t j, std::int64_t count, const float* sums, std::int64_t chunks) noexcept {
          dora.add(kernels, j, count, chunks, count, sums);
        });
  with_kernels(cpu.isa, [&](auto kernels) noexcept {
    parallel_pieces(cpu, tokens, piece, [&](std::int64_t first, std::int64_t count) noexcept {
      float* partial = d_weight != nullptr ? partials + first / chunk * head_dim : nullptr;
      if (partial != nullptr) std::fill_n(partial, head_dim, 0.0f);
      for (std::int64_t t = first; t < first + count; ++t)
        for (std::int64_t d = 0; d < width; d += head_dim) row(kernels, t, d, nullptr, nullptr, partial);
    });
  });
  for (std::int64_t i = 0; d_weight != nullptr && i * chunk < tokens; ++i)
    for (std::int64_t d = 0; d < head_dim; ++d) d_weight[d] += partials[i * head_dim + d];
}

template <class T>
void residual_add(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* x, const T* z, const float* c,
                  T* out) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    kernels.residual_row(cols, x + t * cols, z + t * cols, c, out + t * cols);
  });
}

template <class T>
void residual_subtract(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* x, const T* z, T* out) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    kernels.subtract_row(cols, x + t * cols, z + t * cols, out + t * cols);
  });
}

// out_rows as in qk_norm_rope_forward.
template <class T>
void scale_columns(Cpu& cpu, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, const T* z, const float* c,
                   T* out, HeadLayout layout, const std::int32_t* out_rows) noexcept {
  const std::int64_t width = heads * head_dim;
  detail::over_rows(cpu, tokens, width, [&](auto kernels, std::int64_t t) noexcept {
    T* token = out + (out_rows != nullptr ? std::int64_t{out_rows[t]} : t) * layout.token;
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t d = h * head_dim;
      kernels.scale_columns_row(head_dim, z + t * width + d, c != nullptr ? c + d : nullptr, token + h * layout.head);
    }
  });
}

template <class T>
void dropout_forward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const DropoutMask& mask, const T* x, T* dropped,
                     T* rest) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    kernels.dropout_row(cols, mask, mask.first(t, cols), x + t * cols, dropped + t * cols,
                        rest != nullptr ? rest + t * cols : nullptr);
  });
}

template <class T>
void dropout_backward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const DropoutMask& mask, const T* d_dropped,
                      T* d_x) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    kernels.dropout_backward_row(cols, mask, mask.first(t, cols), d_dropped + t * cols, d_x + t * cols);
  });
}

template <class T>
void dora_backward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* z, const DoraColumns& dora, const T* d_y,
                   T* d_z) noexcept {
  detail::over_rows_with_sums(
      cpu, rows, cols, 1, 1,
      [&](auto kernels, std::int64_t t, std::int64_t j, std::int64_t count, float* sums) noexcept {
        const std::int64_t at = t * cols + j;
        kernels.dora_backward_row(count, z + at, dora.scale + j, sums, d_y + at, d_z + at);
      },
      [&](auto kernels, std::int64_t j, std::int64_t count, const float* sums, std::int64_t chunks) noexcept {
        dora.add(kernels, j, count, chunks, count, sums);
      });
}

template <class T>
void swiglu_forward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* gate, const float* c_gate, const T* up,
                    const float* c_up, T* out) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    kernels.swiglu_row(cols, gate + t * cols, c_gate, up + t * cols, c_up, out + t * cols);
  });
}

// d_gate and d_up: gradients of the projections' products, before DoRA's scales where there are some; their sums of
// columns are taken while they are in the cache.
template <class T>
void swiglu_backward(Cpu& cpu, std::int64_t rows, std::int64_t cols, const T* gate, const DoraColumns& dora_gate,
                     const T* up, const DoraColumns& dora_up, const T* d_out, T* d_gate, T* d_up) noexcept {
  if (!dora_gate && !dora_up)
    return detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
      const std::int64_t at = t * cols;
      kernels.swiglu_backward_row(cols, gate + at, nullptr, nullptr, up + at, nullptr, nullptr, d_out + at, d_gate + at,
                                  d_up + at);
    });
  detail::over_rows_with_sums(
      cpu, rows, cols, 1, 2,
      [&](auto kernels, std::int64_t t, std::int64_t j, std::int64_t count, float* sums) noexcept {
        const std::int64_t at = t * cols + j;
        kernels.swiglu_backward_row(count, gate + at, dora_gate.scale_from(j), sums, up + at, dora_up.scale_from(j),
                                    sums + count, d_out + at, d_gate + at, d_up + at);
      },
      [&](auto kernels, std::int64_t j, std::int64_t count, const float* sums, std::int64_t chunks) noexcept {
        dora_gate.add(kernels, j, count, chunks, 2 * count, sums);
        dora_up.add(kernels, j, count, chunks, 2 * count, sums + count);
      });
}

template <class T>
void cross_entropy(Cpu& cpu, std::int64_t rows, std::int64_t vocab, T* logits, const std::int32_t* labels, float scale,
                   float* loss) noexcept {
  detail::over_rows(cpu, rows, vocab, [&](auto kernels, std::int64_t t) noexcept {
    T* row = logits + t * vocab;
    T& at_label = row[labels[t]];
    const float label_logit = static_cast<float>(at_label), max = kernels.max_row(vocab, row);
    const float sum = kernels.exp_row(vocab, max, row), k = scale / sum;
    loss[t] = std::log(sum) + max - label_logit;
    kernels.scale_exp_row(vocab, max, k, row);
    at_label = T(k * kernels.exp_one(label_logit - max) - scale);
  });
}

// What a softmax over rows has seen so far, when their numbers come in parts: (rows) each.
struct SoftmaxState {
  float *max, *sum, *label_logit;  // sum: of exp(x - max)
};
inline void begin_softmax(std::int64_t rows, const SoftmaxState& state) noexcept {
  std::fill_n(state.max, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(state.sum, rows, 0.0f);
}
// Logits (rows, cols) of the columns [first, first + cols) of a vocabulary enter the state. They may be overwritten.
template <class T>
void cross_entropy_sums(Cpu& cpu, std::int64_t rows, std::int64_t cols, T* logits, const std::int32_t* labels,
                        std::int64_t first, const SoftmaxState& state) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    T* row = logits + t * cols;
    if (const std::int64_t at = labels[t] - first; at >= 0 && at < cols)
      state.label_logit[t] = static_cast<float>(row[at]);
    const float before = state.max[t], max = std::max(before, kernels.max_row(cols, row));
    const float sum = kernels.exp_row(cols, max, row);
    state.sum[t] = state.sum[t] * kernels.exp_one(before - max) + sum;
    state.max[t] = max;
  });
}
// The same logits, computed again, become `scale` times the gradient of the loss, as cross_entropy leaves it.
template <class T>
void cross_entropy_gradient(Cpu& cpu, std::int64_t rows, std::int64_t cols, T* logits, const std::int32_t* labels,
                            std::int64_t first, float scale, const SoftmaxState& state) noexcept {
  detail::over_rows(cpu, rows, cols, [&](auto kernels, std::int64_t t) noexcept {
    T* row = logits + t * cols;
    const float max = state.max[t], k = scale / state.sum[t];
    if constexpr (sizeof(T) == sizeof(float)) kernels.exp_row(cols, max, row);
    kernels.scale_exp_row(cols, max, k, row);
    if (const std::int64_t at = labels[t] - first; at >= 0 && at < cols)
      row[at] = T(k * kernels.exp_one(state.label_logit[t] - max) - scale);
  });
}

}  // namespace v0
}  // namespace expert
