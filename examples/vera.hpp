// An adapter that the library does not have, from a namespace that is not its own: examples/09_your_own_adapter.cpp and
// tests/unit/runs/own_adapter_test.cpp train it.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <expert/core/random.hpp>
#include <expert/policy/adapter.hpp>

namespace lab {

using namespace expert;

// VeRA, arXiv 2310.11454: W' = W + diag(b) B diag(d) A with frozen random A and B; d (r) and b (out) learn.
template <std::int64_t R>
struct VeRA : LoRA<R, R> {
  static constexpr std::array<OwnTensor, 2> tensors(std::int64_t out, std::int64_t) {
    return {{{"vera_lambda_d", R}, {"vera_lambda_b", out}}};
  }
  static void initialise(std::int64_t out, std::int64_t, std::uint64_t, float* own) noexcept {
    std::fill_n(own, R, 0.1f);
    std::fill_n(own + R, out, 0.0f);
  }
  static void expand(std::int64_t out, std::int64_t in, const float* own, float* a, float* b) noexcept {
    for (std::int64_t i = 0; i < R * in; ++i) a[i] = own[i / in] * frozen_a(in, i);
    for (std::int64_t i = 0; i < out * R; ++i) b[i] = own[R + i / R] * frozen_b(i);
  }
  static void reduce(std::int64_t out, std::int64_t in, const float*, const float* d_a, const float* d_b,
                     float* d_own) noexcept {
    for (std::int64_t i = 0; i < R * in; ++i) d_own[i / in] += d_a[i] * frozen_a(in, i);
    for (std::int64_t i = 0; i < out * R; ++i) d_own[R + i / R] += d_b[i] * frozen_b(i);
  }
  static constexpr auto describe() { return VeRA::describe_adapter("vera"); }

 private:
  static float frozen_a(std::int64_t in, std::int64_t i) { return value(0, i) / std::sqrt(static_cast<float>(in)); }
  static float frozen_b(std::int64_t i) { return value(1, i) / std::sqrt(static_cast<float>(R)); }
  static float value(std::uint64_t seed, std::int64_t i) {
    return 2 * RandomStream(seed, Purpose::init_lora_a).uniform(static_cast<std::uint64_t>(i)) - 1;
  }
};

}  // namespace lab
