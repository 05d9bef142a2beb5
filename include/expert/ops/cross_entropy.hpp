// cross_entropy: one row of logits and its label -> its loss, and the gradient in place of the logits.
//   loss = log(sum_v exp(l_v)) - l_label,   d_l = scale * (softmax(l) - onehot(label))
// Sums in f32 after the row's maximum is taken off, as torch.nn.functional.cross_entropy on f32 logits.
#pragma once
#include <cmath>
#include <cstdint>

#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"

namespace expert {
inline namespace v0 {
namespace reference {

// logits: (rows, vocab), replaced by `scale` times their gradient; labels: (rows), each in [0, vocab); loss: (rows).
template <class T>
void cross_entropy(std::int64_t rows, std::int64_t vocab, T* logits, const std::int32_t* labels, float scale,
                   float* loss) noexcept {
  for (std::int64_t t = 0; t < rows; ++t) {
    T* row = logits + t * vocab;
    float max = float(row[0]);
    for (std::int64_t v = 1; v < vocab; ++v) max = float(row[v]) > max ? float(row[v]) : max;
    float sum = 0;
    for (std::int64_t v = 0; v < vocab; ++v) sum += std::exp(float(row[v]) - max);
    loss[t] = std::log(sum) + max - float(row[labels[t]]);
    const float k = scale / sum;
    for (std::int64_t v = 0; v < vocab; ++v)
      row[v] = T(k * std::exp(float(row[v]) - max) - (v == labels[t] ? scale : 0.0f));
  }
}

}  // namespace reference
}  // namespace v0
}  // namespace expert
