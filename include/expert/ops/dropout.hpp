// dropout: rows -> rows with a share of elements zero and the rest divided by 1 - p (inverted dropout, as
// torch.nn.Dropout). The mask is a function of (seed, step, layer and projection, element): the backward pass draws it
// again.
#pragma once
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"
#include "expert/core/random.hpp"

namespace expert {
inline namespace v0 {

struct DropoutMask {
  RandomStream stream;
  std::int64_t first_token = 0;  // position of row 0 among the tokens of the optimizer step
  float p = 0;
  // The stream's number for element 0 of row `t` of a matrix with `cols` columns.
  std::uint64_t first(std::int64_t t, std::int64_t cols) const {
    return static_cast<std::uint64_t>((first_token + t) * cols);
  }
  float scale() const { return 1 / (1 - p); }
  // 1 / (1 - p) or 0 for element `c` of row `t` of a matrix with `cols` columns.
  float operator()(std::int64_t t, std::int64_t cols, std::int64_t c) const {
    return stream.uniform(first(t, cols) + static_cast<std::uint64_t>(c)) < p ? 0.0f : scale();
  }
};

namespace reference {

// dropped = mask * x; with rest given also rest = x - dropped (what DoRA's first base product still needs).
template <class T>
void dropout_forward(std::int64_t rows, std::int64_t cols, const DropoutMask& mask, const T* x, T* dropped,
                     T* rest) noexcept {
  for (std::int64_t t = 0; t < rows; ++t)
    for (std::int64_t c = 0; c < cols; ++c) {
      const std::int64_t i = t * cols + c;
      dropped[i] = T(float(x[i]) * mask(t, cols, c));
      if (rest != nullptr) rest[i] = T(float(x[i]) - float(dropped[i]));
    }
}

// d_x += mask * d_dropped
template <class T>
void dropout_backward(std::int64_t rows, std::int64_t cols, const DropoutMask& mask, const T* d_dropped,
                      T* d_x) noexcept {
  for (std::int64_t t = 0; t < rows; ++t)
    for (std::int64_t c = 0; c < cols; ++c) {
      const std::int64_t i = t * cols + c;
      d_x[i] = T(float(d_x[i]) + float(d_dropped[i]) * mask(t, cols, c));
    }
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
