// A list and an order -> the list in that order, equal items as they stood. One merge sort for all types: std::sort
// is compiled anew for each, some thousand lines at a time.
#pragma once
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

// The numbers below n, so that before(context, order[i + 1], order[i]) holds for no i.
inline std::vector<std::size_t> sorted_order(std::size_t n, const void* context,
                                             bool (*before)(const void* context, std::size_t a, std::size_t b)) {
  std::vector<std::size_t> order(n), merged(n);
  for (std::size_t i = 0; i < n; ++i) order[i] = i;
  for (std::size_t run = 1; run < n; run *= 2) {
    for (std::size_t begin = 0; begin < n; begin += 2 * run) {
      const std::size_t middle = n - begin < run ? n : begin + run, end = n - middle < run ? n : middle + run;
      std::size_t left = begin, right = middle;
      for (std::size_t i = begin; i < end; ++i) {
        const bool from_right = left == middle || (right < end && before(context, order[right], order[left]));
        merged[i] = from_right ? order[right++] : order[left++];
      }
    }
    order.swap(merged);
  }
  return order;
}

// before(a, b) compares two items.
template <class T, class Before>
void sort_list(std::vector<T>& list, Before before) {
  const std::pair<const T*, const Before*> context{list.data(), &before};
  const std::vector<std::size_t> order =
      sorted_order(list.size(), &context, [](const void* c, std::size_t a, std::size_t b) {
        const auto& [items, compare] = *static_cast<const std::pair<const T*, const Before*>*>(c);
        return static_cast<bool>((*compare)(items[a], items[b]));
      });
  std::vector<T> sorted;
  sorted.reserve(list.size());
  for (const std::size_t i : order) sorted.push_back(std::move(list[i]));
  list.swap(sorted);
}

inline void sort_texts(std::vector<std::string>& texts) {
  sort_list(texts, [](const std::string& a, const std::string& b) { return a.compare(b) < 0; });
}

}  // namespace v0
}  // namespace expert
