// What this machine can do: GFLOP/s of multiply-adds from registers, for each instruction set, on one thread and on
// all.
#include "peak.hpp"

#include <cstdio>
#include <set>
#include <string>
#include <thread>

int main() {
  using namespace expert;
  for (const Isa isa : {Isa::Scalar, Isa::Avx2, Isa::Avx512}) {
    if (!supports(cpu_features(), isa)) {
      std::printf("%-8s not on this CPU\n", std::string(name_of(isa)).c_str());
      continue;
    }
    for (const int threads : std::set<int>{1, static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))}) {
      CpuDevice device(threads, isa);
      Cpu cpu = device.cpu();
      std::printf("%-8s %2d threads  %7.1f GFLOP/s\n", std::string(name_of(isa)).c_str(), threads,
                  bench::peak_flops(cpu, 20) * 1e-9);
    }
  }
}
