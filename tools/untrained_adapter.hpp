// An expert -> adapter values of the size of a trained one's, to time with; B is not zero, as it would be at the start
// of training.
#pragma once
#include <vector>

#include "expert/core/random.hpp"
#include "expert/plan/parameters.hpp"

template <class E>
std::vector<float> untrained_adapter() {
  std::vector<float> values(static_cast<std::size_t>(expert::AdapterLayout<E>::size));
  const expert::RandomStream random(1, expert::Purpose::init_lora_a);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.02f * (2 * random.uniform(i) - 1);
  return values;
}
