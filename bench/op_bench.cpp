// Every op of the registry (tests/op_cases.hpp) on every instruction set of this CPU: its distance from the reference,
// its rate, and the share of the peak measured beside it. An op that is out of its tolerance is not timed. At the end a
// Markdown table of ops by instruction sets; what was not run is "missing".
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "op_cases.hpp"
#include "peak.hpp"

using namespace expert;
using namespace expert::tests;

namespace {

struct Cell {
  double error, share;
};
std::map<std::string, std::map<Isa, Cell>> table;

double peak_of(Cpu& cpu, Bound bound) {
  if (bound != Bound::bytes) return bench::peak_flops(cpu, 5, bound == Bound::pairs);
  static std::vector<std::byte> memory(std::size_t{1} << 28, std::byte{1});
  return bench::peak_bandwidth(cpu, memory.data(), std::ssize(memory), 1);
}

void run(benchmark::State& state, Isa isa, int threads, const OpCase& checked, const OpCase& timed) {
  CpuDevice device(threads, isa);
  Cpu cpu = device.cpu();
  double error = 0;
  {
    const OpRun small = checked.make(cpu);
    small.once();
    error = small.error();
  }
  if (!(error <= checked.tolerance)) return state.SkipWithError("the result is not that of the reference");
  const OpRun op = timed.make(cpu);
  op.once();
  double best = 1e30, peak = peak_of(cpu, timed.bound);
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    op.once();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    state.SetIterationTime(seconds);
    best = std::min(best, seconds);
  }
  peak = std::max(peak, peak_of(cpu, timed.bound));
  const double rate = timed.work / best;
  state.counters["max_error"] = error;
  state.counters[timed.bound == Bound::bytes ? "best_GB_per_s" : "best_GFLOPS"] = rate * 1e-9;
  state.counters["of_peak"] = rate / peak;
  table[timed.name][isa] = {error, rate / peak};
}

void print_table(const std::vector<OpCase>& cases) {
  std::printf("\n| op |");
  for (const Isa isa : all_isas) std::printf(" %s |", std::string(name_of(isa)).c_str());
  std::printf("\n|---|");
  for (std::size_t i = 0; i < all_isas.size(); ++i) std::printf("---|");
  std::printf("\n");
  for (const OpCase& op : cases) {
    std::printf("| %s |", op.name.c_str());
    for (const Isa isa : all_isas) {
      const auto& row = table[op.name];
      if (const auto cell = row.find(isa); cell != row.end())
        std::printf(" %.0f %%, %.1e |", 100 * cell->second.share, cell->second.error);
      else
        std::printf(" missing |");
    }
    std::printf("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  // What op_cases_test checks, and the shape of Qwen3-0.6B.
  const std::vector<OpCase> checked = op_cases(35, 192, 328, 1003), timed = op_cases(512, 1024, 3072, 32768);
  for (const Isa isa : all_isas) {
    if (isa == Isa::AmxEmulated || !supports(cpu_features(), isa)) continue;
    for (std::size_t i = 0; i < timed.size(); ++i)
      benchmark::RegisterBenchmark(
          (std::string(name_of(isa)) + " " + timed[i].name + " threads " + std::to_string(threads)).c_str(),
          [=](benchmark::State& state) { run(state, isa, threads, checked[i], timed[i]); })
          ->UseManualTime()
          ->MinTime(0.2)
          ->Unit(benchmark::kMicrosecond);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  print_table(timed);
}
