#include "expert/core/threads.hpp"
#include "catch.hpp"
#include "expert/cpu/device.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <thread>

namespace threads_test {
using namespace expert;

TEST_CASE("every chunk runs once, for any number of threads and chunks", "[threads]") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (const std::int64_t chunks : {-1, 0, 1, 2, 3, 7, 8, 100, 1001}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(std::max<std::int64_t>(chunks, 0)));
      std::atomic<bool> thread_in_range = true;
      pool.parallel_for(chunks, [&](std::int64_t c, int thread) noexcept {
        runs[static_cast<std::size_t>(c)]++;
        if (thread < 0 || thread >= threads) thread_in_range = false;
      });
      bool once = true;
      for (const auto& n : runs) once = once && n == 1;
      CHECK(once);
      CHECK(thread_in_range);
    }
  }
}

TEST_CASE("a thread that is ahead takes what another is behind with", "[threads]") {
  ThreadPool pool(2);
  std::atomic<int> done{0};
  std::array<int, 100> ran_on{};
  // Chunk 0 ends when all others are done: without help its thread would wait for its own share for ever.
  pool.parallel_for(100, [&](std::int64_t c, int t) noexcept {
    ran_on[static_cast<std::size_t>(c)] = t;
    while (c == 0 && done.load() < 99 - 6) std::this_thread::yield();
    ++done;
  });
  CHECK(done.load() == 100);
  CHECK(std::count(ran_on.begin(), ran_on.end(), ran_on[0]) <= 7);  // what it had taken at once with chunk 0
}

TEST_CASE("ten thousand short calls, with pauses that let the workers sleep, lose none", "[threads]") {
  ThreadPool pool(4);
  std::atomic<std::int64_t> sum = 0;
  for (int i = 0; i < 10000; ++i) {
    pool.parallel_for(4, [&](std::int64_t c, int) noexcept { sum += c + 1; });
    if (i % 1000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(sum == 100000);
}

TEST_CASE("what workers wrote is visible after the call", "[threads]") {
  ThreadPool pool(4);
  std::vector<std::int64_t> values(1000);
  for (std::int64_t round = 1; round <= 200; ++round) {
    pool.parallel_for(1000, [&](std::int64_t c, int) noexcept { values[static_cast<std::size_t>(c)] += c; });
    REQUIRE(values[999] == 999 * round);
  }
}

TEST_CASE("a nested call runs on the thread that makes it", "[threads]") {
  ThreadPool pool(4);
  std::atomic<int> count = 0, strangers = 0;
  pool.parallel_for(8, [&](std::int64_t, int outer) noexcept {
    const auto id = std::this_thread::get_id();
    pool.parallel_for(5, [&](std::int64_t, int inner) noexcept {
      ++count;
      if (inner != outer || std::this_thread::get_id() != id) ++strangers;
    });
  });
  CHECK(count == 40);
  CHECK(strangers == 0);
  pool.parallel_for(
      1, [&](std::int64_t, int) noexcept { pool.parallel_for(2, [&](std::int64_t, int t) noexcept { count += t; }); });
  CHECK(count == 40);
}

TEST_CASE("two pools nest without waiting for each other", "[threads]") {
  ThreadPool outer(2), inner(3);
  std::mutex one_at_a_time;
  std::atomic<int> count = 0;
  outer.parallel_for(6, [&](std::int64_t, int) noexcept {
    const std::lock_guard lock(one_at_a_time);
    inner.parallel_for(7, [&](std::int64_t, int) noexcept { ++count; });
  });
  CHECK(count == 42);
}

#if defined(__x86_64__)
TEST_CASE("denormals are flushed inside a task on every thread, and the caller's mode is restored", "[threads]") {
  const auto mode = [] { return __builtin_ia32_stmxcsr() & ~0x3fu; };  // without the sticky exception flags
  const unsigned before = mode();
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    std::vector<float> halves(12, 1.0f);
    volatile float smallest = std::numeric_limits<float>::min();
    pool.parallel_for(12, [&](std::int64_t c, int) noexcept { halves[static_cast<std::size_t>(c)] = smallest * 0.5f; });
    for (const float half : halves) CHECK(half == 0.0f);
    CHECK(mode() == before);
    CHECK(smallest * 0.5f > 0.0f);
  }
}
#endif

TEST_CASE("an impossible number of threads is refused", "[threads]") {
  for (const int threads : {0, -1, 1025, std::numeric_limits<int>::max()}) {
    try {
      ThreadPool pool(threads);
      FAIL("accepted " << threads);
    } catch (const Error& error) {
      CHECK(error.error_code() == bad_thread_count);
      CHECK(std::string(error.what()).find(std::to_string(threads)) != std::string::npos);
    }
  }
}

TEST_CASE("names of instruction sets go there and back, others are refused", "[isa]") {
  for (const Isa isa : all_isas) CHECK(isa_from_name(name_of(isa)) == isa);
  for (const char* name : {"", "avx", "AVX2", "avx512 ", "sse"}) {
    try {
      isa_from_name(name);
      FAIL("accepted " << name);
    } catch (const Error& error) {
      CHECK(error.error_code() == unknown_isa);
    }
  }
}

TEST_CASE("the choice follows the fixed table", "[isa]") {
  CHECK(best_isa(CpuFeatures{}) == Isa::Scalar);
  CHECK(best_isa({.avx2 = true}) == Isa::Avx2);
  CHECK(best_isa({.avx2 = true, .avx512 = true}) == Isa::Avx512);
  CHECK(best_isa({.avx2 = true, .avx512 = true, .avx512_bf16 = true}) == Isa::Avx512);
  CHECK(best_isa({.avx2 = true, .avx512 = true, .avx512_bf16 = true, .fast_bf16_dot = true}) == Isa::Avx512Bf16);
  CHECK(best_isa({.avx2 = true, .avx512 = true, .avx512_bf16 = true, .amx_bf16 = true}) == Isa::AmxBf16);
  CHECK(supports(cpu_features(), best_isa()));
}

TEST_CASE("EXPERT_ISA is read by the test function only, and checked", "[isa]") {
  const char* set = std::getenv("EXPERT_ISA");
  const std::string saved = set == nullptr ? "" : set;
  const Isa best = best_isa();
  setenv("EXPERT_ISA", "scalar", 1);
  CHECK(isa_from_environment_for_tests() == Isa::Scalar);
  CHECK(best_isa() == best);
  setenv("EXPERT_ISA", "z80", 1);
  CHECK_THROWS_AS(isa_from_environment_for_tests(), Error);
  unsetenv("EXPERT_ISA");
  CHECK(isa_from_environment_for_tests() == best);
  if (set != nullptr) setenv("EXPERT_ISA", saved.c_str(), 1);
}

TEST_CASE("an instruction set that the CPU lacks is refused", "[isa]") {
  CHECK(require_supported(Isa::AmxEmulated, CpuFeatures{}) == Isa::AmxEmulated);
  for (const Isa isa : {Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::AmxBf16}) {
    try {
      require_supported(isa, CpuFeatures{});
      FAIL("accepted " << name_of(isa));
    } catch (const Error& error) {
      CHECK(error.error_code() == unsupported_isa);
    }
  }
  for (const Isa isa : all_isas) {
    if (supports(cpu_features(), isa)) CHECK(CpuDevice(1, isa).cpu().isa == isa);
    if (!supports(cpu_features(), isa)) CHECK_THROWS_AS(CpuDevice(1, isa), Error);
  }
}

TEST_CASE("the workspace is aligned and belongs to one thread each", "[device]") {
  CpuDevice device(3);
  const Cpu cpu = device.cpu();
  CHECK(reinterpret_cast<std::uintptr_t>(cpu.workspace) % 64 == 0);
  CHECK(cpu.workspace_floats * 4 == CpuDevice::workspace_bytes(3));
  CHECK(cpu.op_workspace(2) + op_workspace_floats == cpu.workspace + cpu.workspace_floats);
  CHECK(cpu.gemm_workspace(1) == cpu.op_workspace(0) + op_workspace_floats);
}

}  // namespace threads_test
