// residual: the residual stream and a projection's output -> their sum, with DoRA's column scale applied on the way.
//   out = x + c * z  (c null means 1);  residual_subtract: out = x - z;  scale_columns: out = c * z
#pragma once
#include <cstdint>

#include "expert/core/batch.hpp"
#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"

namespace expert {
inline namespace v0 {
namespace reference {

template <class T>
void residual_add(std::int64_t rows, std::int64_t cols, const T* x, const T* z, const float* c, T* out) noexcept {
  for (std::int64_t t = 0; t < rows; ++t)
    for (std::int64_t j = 0; j < cols; ++j) {
      const std::int64_t i = t * cols + j;
      out[i] = T(float(x[i]) + (c != nullptr ? float(T(float(z[i]) * c[j])) : float(z[i])));
    }
}

template <class T>
void residual_subtract(std::int64_t rows, std::int64_t cols, const T* x, const T* z, T* out) noexcept {
  for (std::int64_t i = 0; i < rows * cols; ++i) out[i] = T(float(x[i]) - float(z[i]));
}

// z: (tokens, heads * head_dim); token t goes to place out_rows[t] of `out` when out_rows is given (a KV cache), else
// to place t.
template <class T>
void scale_columns(std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, const T* z, const float* c, T* out,
                   HeadLayout layout, const std::int32_t* out_rows) noexcept {
  const std::int64_t cols = heads * head_dim;
  for (std::int64_t t = 0; t < tokens; ++t) {
    T* token = out + (out_rows != nullptr ? std::int64_t{out_rows[t]} : t) * layout.token;
    for (std::int64_t j = 0; j < cols; ++j)
      token[j / head_dim * layout.head + j % head_dim] =
          c != nullptr ? T(float(z[t * cols + j]) * c[j]) : z[t * cols + j];
  }
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
