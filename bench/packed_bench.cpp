// Products of packed weights on this CPU: the cases that packed_bf16_test checks, as a rate and a share of the peak
// measured beside each. Few rows read all weights once from memory, so theirs is a share of the bandwidth.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "expert/cpu/packed_linear.hpp"
#include "packed_case.hpp"
#include "peak.hpp"

using namespace expert;
using namespace expert::tests;

namespace {

double seconds_of(const auto& once) {
  const auto start = std::chrono::steady_clock::now();
  once();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Many rows: one matrix, which caches may keep; its operations against the peak of multiply-adds.
void gemm_bench(benchmark::State& state, Isa isa, int threads, const PackedCase& c) {
  CpuDevice device(threads, isa);
  Cpu cpu = device.cpu();
  const Sample s = sample(cpu, c.format, c.out, c.in);
  const std::int64_t k = c.backward ? c.out : c.in, n = c.backward ? c.in : c.out;
  Operand<bf16> x(c.rows, k, 0, 1), y(c.rows, n, 0, 2);
  const auto once = [&] {
    if (c.backward)
      backward_of(cpu, c.rows, s.packed, x.data(), k, false, y.data(), n);
    else
      forward_of(cpu, c.rows, s.packed, x.data(), k, y.data(), n);
  };
  once();
  double best = 1e30, peak = bench::peak_flops(cpu, 5, true);
  for (auto _ : state) {
    const double seconds = seconds_of(once);
    state.SetIterationTime(seconds);
    best = std::min(best, seconds);
  }
  peak = std::max(peak, bench::peak_flops(cpu, 5, true));
  state.counters["best_GFLOPS"] = c.flops() / best * 1e-9;
  state.counters["peak_GFLOPS"] = peak * 1e-9;
  state.counters["of_peak"] = c.flops() / best / peak;
}

// Few rows: as many copies of the matrix as caches cannot hold; their bytes against the bandwidth.
void gemv_bench(benchmark::State& state, Isa isa, int threads, const PackedCase& c) {
  CpuDevice device(threads, isa);
  Cpu cpu = device.cpu();
  const Sample s = sample(cpu, c.format, c.out, c.in);
  constexpr std::int64_t bytes = std::int64_t{1} << 28;
  const std::int64_t size = s.packed.packed_bytes(), copies = bytes / size;
  std::vector<std::byte> memory(static_cast<std::size_t>(copies * size + 64));
  std::byte* begin = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64;
  std::vector<PackedMatrix> matrices(static_cast<std::size_t>(copies), s.packed);
  for (std::int64_t i = 0; i < copies; ++i) {
    std::copy_n(s.packed.codes, size, begin + i * size);
    matrices[index(i)].place(begin + i * size);
  }
  Operand<bf16> x(c.rows, c.in, 0, 1), y(c.rows, c.out, 0, 2);
  const auto once = [&] {
    for (const PackedMatrix& m : matrices) forward_of(cpu, c.rows, m, x.data(), c.in, y.data(), c.out);
  };
  once();
  double best = 1e30, peak = bench::peak_bandwidth(cpu, memory.data(), copies * size);
  for (auto _ : state) {
    const double seconds = seconds_of(once);
    state.SetIterationTime(seconds);
    best = std::min(best, seconds);
  }
  peak = std::max(peak, bench::peak_bandwidth(cpu, memory.data(), copies * size));
  const double rate = static_cast<double>(copies * size) / best;
  state.counters["best_GB_per_s"] = rate * 1e-9;
  state.counters["peak_GB_per_s"] = peak * 1e-9;
  state.counters["of_peak"] = rate / peak;
}

}  // namespace

int main(int argc, char** argv) {
  const int all = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (const Isa isa : {Isa::AmxBf16, Isa::Avx512Bf16, Isa::Avx512, Isa::Avx2}) {
    if (!supports(cpu_features(), isa)) continue;
    for (const PackedCase& c : packed_cases())
      benchmark::RegisterBenchmark(
          (std::string(name_of(isa)) + " " + c.name() + " threads " + std::to_string(all)).c_str(),
          [=](benchmark::State& state) { (c.rows <= gemv_rows ? gemv_bench : gemm_bench)(state, isa, all, c); })
          ->UseManualTime()
          ->MinTime(0.3)
          ->Unit(benchmark::kMicrosecond);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
