// Policies of slots `kv` and `decode_batches`: what generation keeps between tokens and between requests.
#pragma once
#include <cstdint>
#include <string_view>

#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

namespace detail {
template <bool Persists>
constexpr auto describe_kv() {
  return std::array{Field{"/runtime/requires_kv_cache_persistence", Persists}};
}
}  // namespace detail

// Keys and values are kept for the length of one request.
struct KvCache {
  using slot = slots::kv;
  static constexpr bool caches = true, persists = false;
  static constexpr auto describe() { return detail::describe_kv<persists>(); }
};

// The cache can also be saved, restored and shared between requests with one prefix.
struct KvPersistence {
  using slot = slots::kv;
  static constexpr bool caches = true, persists = true;
  static constexpr auto describe() { return detail::describe_kv<persists>(); }
};

// Sequences that a generator decodes together.
template <std::int64_t... Sizes>
struct DecodeBatches {
  using slot = slots::decode_batches;
  static constexpr std::array<std::int64_t, sizeof...(Sizes)> supported_batch_sizes{Sizes...};
  static constexpr auto describe() {
    return std::array{Field{"/perf/supported_batch_sizes", Integers(supported_batch_sizes)}};
  }
};

}  // namespace v0
}  // namespace expert
