// Two arrays of numbers -> how far they are apart at worst.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>

// The largest |a - b|; infinite where the sizes differ or exactly one side is NaN or infinite.
template <class A, class B>
double max_abs_difference(const A& a, const B& b) {
  if (std::size(a) != std::size(b)) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (std::size_t i = 0; i < std::size(a); ++i) {
    const double x = static_cast<float>(a[i]), y = static_cast<float>(b[i]);
    if (x == y) continue;
    const double difference = std::abs(x - y);
    worst = std::max(worst, std::isfinite(difference) ? difference : std::numeric_limits<double>::infinity());
  }
  return worst;
}

template <class A>
double max_abs(const A& a) {
  double worst = 0;
  for (const auto& x : a) worst = std::max(worst, std::abs(double{static_cast<float>(x)}));
  return worst;
}
