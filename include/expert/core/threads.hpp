// A number of chunks and a function f(chunk, thread) -> every chunk done once, on a fixed set of threads.
//
// Chunks are dealt out in contiguous runs, thread t of n taking [chunks * t / n, chunks * (t + 1) / n). Ops split work
// over outputs only, so the thread count changes who computes a number and never the number.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "expert/core/error.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode bad_thread_count{305, "the number of threads is not possible"};
inline constexpr int max_threads = 1024;

// While it lives, denormal inputs and results count as zero on this thread: on x86 one of them costs some 150 cycles.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() noexcept : saved_(__builtin_ia32_stmxcsr()) {
    if ((saved_ & flags) != flags) __builtin_ia32_ldmxcsr(saved_ | flags);
  }
  ~FlushDenormals() {
    if ((saved_ & flags) != flags) __builtin_ia32_ldmxcsr(saved_);
  }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  static constexpr unsigned flags = 0x8040;  // FTZ, DAZ
  unsigned saved_;
#else
  FlushDenormals() noexcept {}
  ~FlushDenormals() {}  // user-provided, so that an unused guard is no warning
#endif
};

// `threads` counts the caller: ThreadPool(1) starts none. One thread at a time may call parallel_for from outside;
// calls from within a task run on the thread that makes them. Throws EXPERT-E305 for a count outside [1, 1024], or that
// the system refuses.
class ThreadPool {
 public:
  explicit ThreadPool(int threads) {
    if (threads < 1 || threads > max_threads) refuse(threads, "a count from 1 to " + std::to_string(max_threads));
    spin_ = static_cast<unsigned>(threads) <= std::thread::hardware_concurrency();
    workers_.reserve(static_cast<std::size_t>(threads - 1));
    try {
      for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
    } catch (const std::exception&) {
      const auto started = workers_.size() + 1;
      join();
      refuse(threads, "at most " + std::to_string(started) + " on this system");
    }
  }
  ~ThreadPool() { join(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const noexcept { return static_cast<int>(workers_.size()) + 1; }

  // Calls f(chunk, thread) for every chunk in [0, chunks), thread in [0, size()); returns when all are done, with their
  // writes visible. f must be noexcept (an exception could cross no worker). Allocates nothing.
  template <class F>
  void parallel_for(std::int64_t chunks, F&& f) noexcept {
    using Function = std::remove_reference_t<F>;
    static_assert(
        std::is_nothrow_invocable_v<Function&, std::int64_t, int>,
        "EXPERT-E041: parallel_for needs f(int64 chunk, int thread) to be noexcept. Mark the lambda noexcept.");
    if (chunks <= 0) return;
    const bool nested = current().pool == this;
    if (nested || chunks == 1 || workers_.empty()) {
      const FlushDenormals flush;
      const Place outer = current();
      const int thread = nested ? outer.thread : 0;
      current() = {this, thread};
      for (std::int64_t c = 0; c < chunks; ++c) f(c, thread);
      current() = outer;
      return;
    }
    task_ = {const_cast<void*>(static_cast<const void*>(&f)), chunks,
             [](void* context, std::int64_t begin, std::int64_t end, int thread) noexcept {
               for (std::int64_t c = begin; c < end; ++c) (*static_cast<Function*>(context))(c, thread);
             }};
    pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    {
      const FlushDenormals flush;
      const Place outer = current();
      current() = {this, 0};
      share(0);
      current() = outer;
    }
    for (int left; (left = pending_.load(std::memory_order_acquire)) != 0;) await_change(pending_, left);
  }

 private:
  struct Task {
    void* context = nullptr;
    std::int64_t chunks = 0;
    void (*run)(void*, std::int64_t begin, std::int64_t end, int thread) noexcept = nullptr;
  };
  struct Place {
    const ThreadPool* pool;
    int thread;
  };
  static Place& current() noexcept {  // what the calling thread is working for
    static thread_local constinit Place place{nullptr, 0};
    return place;
  }

  [[noreturn]] static void refuse(int threads, std::string expected) {
    throw Error(bad_thread_count, {.file = {},
                                   .where = {},
                                   .expected = std::move(expected),
                                   .got = std::to_string(threads),
                                   .fix = "Pass the number of CPU cores"});
  }

  void share(int thread) const noexcept {
    const std::int64_t n = size(), each = task_.chunks / n, rest = task_.chunks % n;
    const std::int64_t begin = each * thread + rest * thread / n, end = each * (thread + 1) + rest * (thread + 1) / n;
    if (begin < end) task_.run(task_.context, begin, end, thread);
  }

  void work(int thread) noexcept {
    const FlushDenormals flush;
    current() = {this, thread};
    for (std::uint32_t seen = 0;;) {
      while (epoch_.load(std::memory_order_acquire) == seen) await_change(epoch_, seen);
      ++seen;
      if (stop_) return;
      share(thread);
      if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
    }
  }

  // Spins for about 20 us, longer than the gap between two ops of one layer, then sleeps: a spinning thread without a
  // core of its own would hold back the one that it waits for.
  template <class T>
  void await_change(const std::atomic<T>& value, T old) const noexcept {
    if (spin_) {
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(20);
      do {
        for (int i = 0; i < 32; ++i) {
          if (value.load(std::memory_order_acquire) != old) return;
#if defined(__x86_64__)
          __builtin_ia32_pause();
#endif
        }
      } while (std::chrono::steady_clock::now() < deadline);
    }
    value.wait(old, std::memory_order_acquire);
  }

  void join() noexcept {
    stop_ = true;
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  std::vector<std::thread> workers_;
  Task task_;          // published by epoch_
  bool stop_ = false;  // published by epoch_
  bool spin_ = false;  // written before the workers start
  alignas(64) std::atomic<std::uint32_t> epoch_{0};
  alignas(64) std::atomic<int> pending_{0};
};

}  // namespace v0
}  // namespace expert
