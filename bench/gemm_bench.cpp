// The CPU's dense product and attention, as a rate and as a share of the multiply-add peak measured beside each.
// Shapes: the (512 x 256 x 768, every orientation), LoRA's, decoding's, and packed documents of 200 tokens.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "expert/core/random.hpp"
#include "expert/cpu/attention.hpp"
#include "expert/cpu/gemm.hpp"
#include "peak.hpp"

using namespace expert;

namespace {

template <class T>
std::vector<T> values(std::int64_t n) {
  const RandomStream random(1, Purpose::random_base);
  std::vector<T> v(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = T(2 * random.uniform(i) - 1);
  return v;
}

// Times windows of at least `flops_per_window` and keeps the best: other programs on the machine only ever slow one
// down.
template <class F>
void measure(benchmark::State& state, Cpu cpu, double flops, double bytes, F&& once) {
  once();
  double best = 1e30, peak = bench::peak_flops(cpu);
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    once();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    state.SetIterationTime(seconds);
    best = std::min(best, seconds);
  }
  peak = std::max(peak, bench::peak_flops(cpu));
  state.counters["best_GFLOPS"] = flops / best * 1e-9;
  state.counters["peak_GFLOPS"] = peak * 1e-9;
  state.counters["of_peak"] = flops / best / peak;
  state.counters["GB_of_B_per_s"] = bytes / best * 1e-9;
}

template <class TA, class TB, class TC>
void gemm_bench(benchmark::State& state, Isa isa, int threads, Trans ta, Trans tb, std::int64_t m, std::int64_t n,
                std::int64_t k) {
  CpuDevice device(threads, isa);
  Cpu cpu = device.cpu();
  const auto a = values<TA>(m * k);
  const auto b = values<TB>(n * k);
  std::vector<TC> c(static_cast<std::size_t>(m * n));
  measure(state, cpu, 2.0 * static_cast<double>(m * n * k), static_cast<double>(n * k) * sizeof(TB), [&] {
    gemm(cpu, ta, tb, m, n, k, 1.0f, a.data(), ta == Trans::yes ? m : k, b.data(), tb == Trans::yes ? k : n, 0.0f,
         c.data(), n);
  });
}

// Causal documents of `length` tokens; operations counted for the keys that are seen.
template <class T>
void attention_bench(benchmark::State& state, Isa isa, int threads, bool backward, std::int64_t tokens,
                     std::int64_t length, std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim) {
  CpuDevice device(threads, isa);
  Cpu cpu = device.cpu();
  const auto q = values<T>(tokens * heads * head_dim), d_out = q;
  const auto k = values<T>(tokens * kv_heads * head_dim), v = k;
  std::vector<T> out(q.size()), d_q(q.size()), d_k(k.size()), d_v(k.size());
  std::vector<float> lse(static_cast<std::size_t>(tokens * heads));
  std::vector<KeyRanges> keys;
  double seen = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto start = static_cast<std::int32_t>(t / length * length);
    keys.push_back({0, 0, start, static_cast<std::int32_t>(t) + 1});
    seen += static_cast<double>(t + 1 - start);
  }
  const std::int64_t Q = heads * head_dim, KV = kv_heads * head_dim;
  const auto forward = [&] {
    attention_forward(cpu, tokens, heads, kv_heads, head_dim, 0.1f, q.data(), Q, k.data(), v.data(), KV, keys.data(),
                      out.data(), Q, lse.data());
  };
  forward();
  const double products = backward ? 5 : 2;
  measure(state, cpu, products * 2 * seen * static_cast<double>(Q), 0, [&] {
    if (!backward) return forward();
    attention_backward(cpu, tokens, tokens, heads, kv_heads, head_dim, 0.1f, q.data(), Q, k.data(), v.data(), KV,
                       keys.data(), out.data(), Q, lse.data(), d_out.data(), Q, d_q.data(), Q, d_k.data(), d_v.data(),
                       KV);
  });
}

struct Orientation {
  const char* label;
  Trans ta, tb;
};
struct Sizes {
  std::int64_t m, n, k;  // of a product; of attention: heads, key heads, head_dim
};

}  // namespace

int main(int argc, char** argv) {
  const int all = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const auto add = [](std::string name, auto run) {
    benchmark::RegisterBenchmark(name.c_str(), run)->UseManualTime()->MinTime(0.3)->Unit(benchmark::kMicrosecond);
  };
  for (const Isa isa : {Isa::Avx512, Isa::Avx2, Isa::Scalar}) {
    if (!supports(cpu_features(), isa)) continue;
    const std::string set(name_of(isa));
    for (const Orientation& o :
         {Orientation{"A B", Trans::no, Trans::no}, {"A B^T", Trans::no, Trans::yes}, {"A^T B", Trans::yes, Trans::no}})
      for (const int threads : {1, all})
        add(set + " f32 512x256x768 " + o.label + " threads " + std::to_string(threads),
            [=](benchmark::State& s) { gemm_bench<float, float, float>(s, isa, threads, o.ta, o.tb, 512, 256, 768); });
    for (const Sizes& d :
         {Sizes{2048, 1024, 1024}, {2048, 12, 1024}, {2048, 1024, 12}, {8, 3072, 1024}, {1, 3072, 1024}}) {
      const std::string shape = std::to_string(d.m) + "x" + std::to_string(d.n) + "x" + std::to_string(d.k) +
                                " A B^T threads " + std::to_string(all);
      add(set + " f32 " + shape, [=](benchmark::State& s) {
        gemm_bench<float, float, float>(s, isa, all, Trans::no, Trans::yes, d.m, d.n, d.k);
      });
      add(set + " bf16 " + shape, [=](benchmark::State& s) {
        gemm_bench<bf16, bf16, bf16>(s, isa, all, Trans::no, Trans::yes, d.m, d.n, d.k);
      });
    }
    for (const Sizes& d : {Sizes{4, 2, 64}, {16, 8, 128}})
      for (const bool backward : {false, true})
        add(set + " f32 attention " + (backward ? "backward" : "forward") + " 2048 tokens, documents of 200, heads " +
                std::to_string(d.m) + "/" + std::to_string(d.n) + "x" + std::to_string(d.k) + " threads " +
                std::to_string(all),
            [=](benchmark::State& s) { attention_bench<float>(s, isa, all, backward, 2048, 200, d.m, d.n, d.k); });
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
