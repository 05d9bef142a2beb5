// Rows<T, C>: a non-owning view of (rows, C) row-major numbers with the width in the type.
#pragma once
#include <cstdint>
#include <type_traits>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

template <class T, std::int64_t C>
struct Rows {
  static constexpr std::int64_t cols = C;
  T* data = nullptr;
  std::int64_t rows = 0;

  EXPERT_HOST_DEVICE constexpr T* operator[](std::int64_t row) const { return data + row * C; }
  EXPERT_HOST_DEVICE constexpr std::int64_t size() const { return rows * C; }
  EXPERT_HOST_DEVICE constexpr Rows slice(std::int64_t first, std::int64_t count) const {
    return {data + first * C, count};
  }
  EXPERT_HOST_DEVICE constexpr operator Rows<const T, C>() const
    requires(!std::is_const_v<T>)
  {
    return {data, rows};
  }
};

}  // namespace v0
}  // namespace expert
