// linear: rows and a weight matrix in any storage -> their product; the adapter's low-rank term rides on it.
//   forward   y = x W^T + s (x A^T) B^T            x: (T, in), W: (out, in), A: (r, in), B: (out, r)
//   backward  d_x = d_y W + d_t A,  d_t = s d_y B,  d_A += d_t^T x,  d_B += s d_y^T (x A^T),  d_W += d_y^T x
// W is (out, in) row-major, as torch.nn.Linear and the checkpoint have it.
#pragma once
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"
#include "expert/ops/packed.hpp"

namespace expert {
inline namespace v0 {

enum class Storage : std::uint8_t { f32, bf16 };

// A weight matrix where it lies, as rows of numbers.
struct MatrixView {
  const void* data = nullptr;
  std::int64_t out = 0, in = 0;
  Storage storage = Storage::f32;
};
// One that is packed for the products (ops/packed.hpp). The format is part of the type: no other is compiled.
template <PackedFormat F>
struct PackedView {
  static constexpr PackedFormat format = F;
  PackedMatrix packed;
  std::int64_t out = 0, in = 0;
};

namespace reference {

template <class T, class W>
void linear_forward(std::int64_t rows, std::int64_t out, std::int64_t in, const T* x, const W* weight, T* y) noexcept {
  for (std::int64_t t = 0; t < rows; ++t)
    for (std::int64_t i = 0; i < out; ++i) {
      float sum = 0;
      for (std::int64_t j = 0; j < in; ++j) sum += float(x[t * in + j]) * float(weight[i * in + j]);
      y[t * out + i] = T(sum);
    }
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
