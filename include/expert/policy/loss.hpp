// Policies of slot `loss`: how logits are turned into a loss.
#pragma once
#include <cstdint>

#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

// Cross entropy on ChunkRows hidden rows at a time: logits of a whole batch never exist.
template <std::int64_t ChunkRows>
struct ChunkedCrossEntropy {
  using slot = slots::loss;
  static constexpr std::int64_t chunk_rows = ChunkRows;
  static constexpr std::array<Field, 0> describe() { return {}; }  // the result does not depend on it
};

// Chunks that come out even: their size follows from the tokens of a batch.
struct EvenChunks {
  using slot = slots::loss;
  static constexpr std::int64_t chunk_rows = 256;  // at most
  static constexpr std::array<Field, 0> describe() { return {}; }
};

namespace detail {
constexpr std::int64_t even_chunk_rows(std::int64_t tokens) {
  std::int64_t rows = tokens < EvenChunks::chunk_rows ? tokens : EvenChunks::chunk_rows;
  while (tokens % rows != 0) --rows;
  return rows;
}
template <class Loss, std::int64_t Tokens>
struct ResolveLoss {
  using type = Loss;
};
template <std::int64_t Tokens>
struct ResolveLoss<EvenChunks, Tokens> {
  using type = ChunkedCrossEntropy<even_chunk_rows(Tokens)>;
};
template <class Loss, std::int64_t Tokens>
using LossFor = typename ResolveLoss<Loss, Tokens>::type;
}  // namespace detail

}  // namespace v0
}  // namespace expert
