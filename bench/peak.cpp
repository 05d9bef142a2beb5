// What this machine can do: GFLOP/s of multiply-adds from registers, for each instruction set and type, and GB/s of
// reading memory, on one thread and on all.
#include "peak.hpp"

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <thread>
#include <vector>

int main() {
  using namespace expert;
  const std::set<int> counts{1, static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};
  for (const Isa isa : all_isas) {
    if (isa == Isa::AmxEmulated) continue;
    const std::string name(name_of(isa));
    if (!supports(cpu_features(), isa)) {
      std::printf("%-12s not on this CPU\n", name.c_str());
      continue;
    }
    const bool pairs = isa == Isa::Avx512Bf16 || isa == Isa::AmxBf16;
    for (const int threads : counts) {
      CpuDevice device(threads, isa);
      Cpu cpu = device.cpu();
      std::printf("%-12s %s %2d threads  %7.1f GFLOP/s\n", name.c_str(), pairs ? "bf16" : "f32 ", threads,
                  bench::peak_flops(cpu, 20, pairs) * 1e-9);
    }
  }
  const std::vector<std::byte> memory(std::size_t{1} << 29, std::byte{1});
  for (const int threads : counts) {
    CpuDevice device(threads);
    Cpu cpu = device.cpu();
    std::printf("reading %zu MiB %2d threads  %7.1f GB/s\n", memory.size() >> 20, threads,
                bench::peak_bandwidth(cpu, memory.data(), static_cast<std::int64_t>(memory.size())) * 1e-9);
  }
}
