// tests/parity/data/<name> -> its tensors by name. A tensor that is missing fails the test.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "expert/io/safetensors.hpp"

class ParityFixture {
 public:
  explicit ParityFixture(const std::string& name)
      : file_(std::string(EXPERT_SOURCE_DIR) + "/tests/parity/data/" + name) {}

  const expert::SafetensorsFile& file() const { return file_; }
  const expert::TensorView& tensor(const std::string& name) const {
    const expert::TensorView* view = file_.find(name);
    if (view == nullptr) FAIL("no tensor " + name + " in " + file_.name());
    return *view;
  }
  std::vector<std::int64_t> shape(const std::string& name) const { return tensor(name).shape; }
  std::vector<float> floats(const std::string& name) const { return tensor(name).to_f32(); }
  float scalar(const std::string& name) const { return floats(name).at(0); }
  template <class T>
  std::vector<T> values(const std::string& name) const {
    const std::span<const T> all = tensor(name).template as<T>();
    return {all.begin(), all.end()};
  }
  // Token ids, labels and positions are stored as int64.
  std::vector<std::int32_t> ids(const std::string& name) const {
    const auto all = tensor(name).as<std::int64_t>();
    std::vector<std::int32_t> out(all.size());
    std::transform(all.begin(), all.end(), out.begin(), [](std::int64_t x) { return static_cast<std::int32_t>(x); });
    return out;
  }

 private:
  expert::SafetensorsFile file_;
};

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
