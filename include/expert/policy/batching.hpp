// Policies of slots `packing` and `batch`: how documents fill rows, and how many rows make a batch.
#pragma once
#include <cstdint>

#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

namespace detail {
template <std::int64_t MaxSeqLength, bool Packed>
struct RowsOf {
  using slot = slots::packing;
  static constexpr std::int64_t max_seq_length = MaxSeqLength;
  static constexpr bool packing = Packed;
  static constexpr auto describe() {
    return std::array{Field{"/training/config/max_seq_length", max_seq_length},
                      Field{"/training/config/packing", packing}};
  }
};
}  // namespace detail

// Several documents share a row of at most MaxSeqLength tokens; none sees another.
template <std::int64_t MaxSeqLength>
struct Packing : detail::RowsOf<MaxSeqLength, true> {};

// One document per row.
template <std::int64_t MaxSeqLength>
struct NoPacking : detail::RowsOf<MaxSeqLength, false> {};

// Rows per micro-batch; gradients are accumulated over /training/config/gradient_accumulation_steps of them.
template <std::int64_t BatchSize>
struct Batch {
  using slot = slots::batch;
  static constexpr std::int64_t batch_size = BatchSize;
  static constexpr auto describe() { return std::array{Field{"/training/config/batch_size", batch_size}}; }
};

}  // namespace v0
}  // namespace expert
