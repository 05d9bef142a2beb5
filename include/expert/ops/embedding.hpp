// embedding: token ids -> rows of embed_tokens; backward adds each row's gradient to its id.
#pragma once
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"

namespace expert {
inline namespace v0 {
namespace reference {

// weight: (vocab, cols) of W; out: (rows, cols) of T. Ids are checked where they enter the library.
template <class W, class T>
void embedding_forward(std::int64_t rows, std::int64_t cols, const std::int32_t* ids, const W* weight,
                       T* out) noexcept {
  for (std::int64_t t = 0; t < rows; ++t)
    for (std::int64_t c = 0; c < cols; ++c) out[t * cols + c] = T(float(weight[ids[t] * cols + c]));
}

// Adds in the order of the tokens, so that equal ids always sum in the same order. d_out and d_weight share one row
// stride: a caller may split the columns over threads.
template <class T>
void embedding_backward(std::int64_t rows, std::int64_t cols, std::int64_t stride, const std::int32_t* ids,
                        const T* d_out, float* d_weight) noexcept {
  for (std::int64_t t = 0; t < rows; ++t)
    for (std::int64_t c = 0; c < cols; ++c) d_weight[ids[t] * stride + c] += float(d_out[t * stride + c]);
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
