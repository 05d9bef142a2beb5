// What flows from tokens to the trainer: a flat list of tokens with, for each, what it may see and what it should
// predict.
#pragma once
#include <cstdint>
#include <vector>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

inline constexpr std::int32_t ignore_index = -100;  // torch's: this token bears no loss

// The keys that one token may attend to: [p0, p1), a shared prefix, and [d0, d1), its own document up to itself.
// Plain packing has p0 == p1. Indices count the tokens of the batch (in decoding: the rows of the KV cache).
struct KeyRanges {
  std::int32_t p0 = 0, p1 = 0, d0 = 0, d1 = 0;
  friend bool operator==(const KeyRanges&, const KeyRanges&) = default;
};

// Where the heads of keys or values lie: head h of token t begins at t * token + h * head. Rows of all heads are
// {heads * head_dim, head_dim}.
struct HeadLayout {
  std::int64_t token, head;
};

// One micro-batch: `rows` packed rows of at most `row_length` tokens, concatenated without padding between them.
// Token i predicts labels[i] (already shifted: the id of token i + 1 of its document), or nothing where it is
// ignore_index.
struct TokenBatch {
  std::vector<std::int32_t> input_ids, positions, labels;  // (T)
  std::vector<KeyRanges> keys;                             // (T)
  std::vector<std::int64_t> row_begin;                     // (rows + 1): where each packed row starts; back() == T
  std::int64_t documents = 0;

  std::int64_t tokens() const { return static_cast<std::int64_t>(input_ids.size()); }
  std::int64_t rows() const { return row_begin.empty() ? 0 : static_cast<std::int64_t>(row_begin.size()) - 1; }
  std::int64_t loss_tokens() const {
    std::int64_t n = 0;
    for (const std::int32_t label : labels) n += label != ignore_index;
    return n;
  }
};

}  // namespace v0
}  // namespace expert
