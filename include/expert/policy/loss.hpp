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

// The same with VocabRows logits of a row at a time, computed twice: for the sum of the softmax, then for its gradient.
// Half as much again for the head, in the memory of a chunk's corner; as in Cut Cross-Entropy, arXiv 2411.09009.
template <std::int64_t ChunkRows, std::int64_t VocabRows = 8192>
struct RecomputedCrossEntropy {
  using slot = slots::loss;
  static constexpr std::int64_t chunk_rows = ChunkRows, vocab_rows = VocabRows;
  static constexpr std::array<Field, 0> describe() { return {}; }
};

// Chunks that come out even: their size follows from the tokens of a batch.
struct EvenChunks {
  using slot = slots::loss;
  static constexpr std::int64_t chunk_rows = 512;  // at most
  static constexpr std::array<Field, 0> describe() { return {}; }
};

// Logits of a row that exist at once; 0: all of them.
template <class Loss>
inline constexpr std::int64_t loss_vocab_rows = 0;
template <class Loss>
  requires requires { Loss::vocab_rows; }
inline constexpr std::int64_t loss_vocab_rows<Loss> = Loss::vocab_rows;

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
