// A number of chunks and a function f(chunk, thread) -> every chunk done once, on a fixed set of threads.
//
// Chunks are dealt out in contiguous runs, thread t of n taking [chunks * t / n, chunks * (t + 1) / n). Ops split work
// over outputs only, so the thread count changes who computes a number and never the number.
//
// On pthreads and the compilers' atomics: <thread>, <atomic> and <chrono> cost a fifth of the include budget.
#pragma once
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"

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
    if (threads < 1 || threads > max_threads) refuse(threads, joined({"a count from 1 to ", max_threads}));
    spin_ = threads <= ::sysconf(_SC_NPROCESSORS_ONLN);
    workers_.reserve(static_cast<std::size_t>(threads));  // a worker keeps a pointer to its entry
    workers_.push_back({this, 0, {}, 0});
    for (int t = 1; t < threads; ++t) {
      workers_.push_back({this, t, {}, 0});
      if (::pthread_create(&workers_.back().id, nullptr, run_worker, &workers_.back()) == 0) continue;
      workers_.pop_back();
      const std::size_t started = workers_.size();
      join();
      refuse(threads, joined({"at most ", started, " on this system"}));
    }
  }
  ~ThreadPool() { join(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const noexcept { return static_cast<int>(workers_.size()); }
  // Whether the calling thread is inside a task of this pool.
  bool in_task() const noexcept { return current().pool == this; }

  // Calls f(chunk, thread) for every chunk in [0, chunks), chunks < 2^31, thread in [0, size()); returns when all are
  // done, with their writes visible. Which thread does a chunk differs from call to call. f must be noexcept (an
  // exception could cross no worker). Allocates nothing.
  template <class F>
  void parallel_for(std::int64_t chunks, F&& f) noexcept {
    using Function = std::remove_reference_t<F>;
    static_assert(
        std::is_nothrow_invocable_v<Function&, std::int64_t, int>,
        "EXPERT-E041: parallel_for needs f(int64 chunk, int thread) to be noexcept. Mark the lambda noexcept.");
    if (chunks <= 0) return;
    const bool nested = in_task();
    if (nested || chunks == 1 || size() == 1) {
      const FlushDenormals flush;
      const Place outer = current();
      const int thread = nested ? outer.thread : 0;
      current() = {this, thread};
      for (std::int64_t c = 0; c < chunks; ++c) f(c, thread);
      current() = outer;
      return;
    }
    task_ = {const_cast<void*>(static_cast<const void*>(&f)),
             [](void* context, std::int64_t begin, std::int64_t end, int thread) noexcept {
               for (std::int64_t c = begin; c < end; ++c) (*static_cast<Function*>(context))(c, thread);
             }};
    const std::int64_t n = size(), each = chunks / n, rest = chunks % n;
    for (std::int64_t t = 0; t < n; ++t)
      __atomic_store_n(&workers_[static_cast<std::size_t>(t)].chunks,
                       packed(each * t + rest * t / n, each * (t + 1) + rest * (t + 1) / n), __ATOMIC_RELAXED);
    __atomic_store_n(&pending_, static_cast<std::uint32_t>(n - 1), __ATOMIC_RELAXED);
    start_epoch();
    {
      const FlushDenormals flush;
      const Place outer = current();
      current() = {this, 0};
      share(0);
      current() = outer;
    }
    for (std::uint32_t left; (left = __atomic_load_n(&pending_, __ATOMIC_ACQUIRE)) != 0;) await_change(pending_, left);
  }

 private:
  struct Task {
    void* context = nullptr;
    void (*run)(void*, std::int64_t begin, std::int64_t end, int thread) noexcept = nullptr;
  };
  struct alignas(64) Worker {  // the first is whoever calls
    ThreadPool* pool;
    int thread;
    pthread_t id;
    std::uint64_t chunks;  // [begin, end) that it has yet to do, published by epoch_; by __atomic builtins only
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
                                   .got = joined({threads}),
                                   .fix = "Pass the number of CPU cores"});
  }

  static std::uint64_t packed(std::int64_t begin, std::int64_t end) noexcept {
    return static_cast<std::uint64_t>(end) << 32 | static_cast<std::uint64_t>(begin);
  }
  // Runs some chunks of a worker: its own from the front, another's from the back. False where none are left.
  bool take(Worker& worker, bool own, int thread) const noexcept {
    std::uint64_t seen = __atomic_load_n(&worker.chunks, __ATOMIC_RELAXED);
    for (;;) {
      const auto begin = static_cast<std::int64_t>(seen & 0xffffffffu), end = static_cast<std::int64_t>(seen >> 32);
      if (begin >= end) return false;
      const std::int64_t count = end - begin < 16 ? 1 : (end - begin) / 8;
      const std::uint64_t left = own ? packed(begin + count, end) : packed(begin, end - count);
      if (!__atomic_compare_exchange_n(&worker.chunks, &seen, left, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
      const std::int64_t from = own ? begin : end - count;
      task_.run(task_.context, from, from + count, thread);
      return true;
    }
  }
  // A thread's own share, which is the same from task to task and so finds its rows in its caches, then what others are
  // behind with: cores are not equally fast where other programs run beside.
  void share(int thread) noexcept {
    const std::size_t n = workers_.size();
    for (std::size_t i = 0; i < n; ++i)
      while (take(workers_[(static_cast<std::size_t>(thread) + i) % n], i == 0, thread)) {
      }
  }

  static void* run_worker(void* worker) noexcept {
    static_cast<Worker*>(worker)->pool->work(static_cast<Worker*>(worker)->thread);
    return nullptr;
  }
  void work(int thread) noexcept {
    const FlushDenormals flush;
    current() = {this, thread};
    for (std::uint32_t seen = 0;;) {
      while (__atomic_load_n(&epoch_, __ATOMIC_ACQUIRE) == seen) await_change(epoch_, seen);
      ++seen;
      if (stop_) return;
      share(thread);
      if (__atomic_sub_fetch(&pending_, 1, __ATOMIC_SEQ_CST) == 0) wake_sleepers();
    }
  }

  void start_epoch() noexcept {
    __atomic_add_fetch(&epoch_, 1, __ATOMIC_SEQ_CST);
    wake_sleepers();
  }

  // Spins for about 20 us, longer than the gap between two ops of one layer, then sleeps: a spinning thread without a
  // core of its own would hold back the one that it waits for.
  void await_change(const std::uint32_t& value, std::uint32_t old) noexcept {
    if (spin_) {
      const std::int64_t deadline = monotonic_ns() + 20'000;
      do {
        for (int i = 0; i < 32; ++i) {
          if (__atomic_load_n(&value, __ATOMIC_ACQUIRE) != old) return;
#if defined(__x86_64__)
          __builtin_ia32_pause();
#endif
        }
      } while (monotonic_ns() < deadline);
    }
    ::pthread_mutex_lock(&mutex_);
    __atomic_add_fetch(&sleepers_, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&value, __ATOMIC_SEQ_CST) == old) ::pthread_cond_wait(&changed_, &mutex_);
    __atomic_sub_fetch(&sleepers_, 1, __ATOMIC_RELAXED);
    ::pthread_mutex_unlock(&mutex_);
  }
  // After a change of a value. Either this sees the sleeper, or the sleeper saw the value (both sides SEQ_CST); the
  // mutex keeps the signal from falling between a sleeper's look and its wait.
  void wake_sleepers() noexcept {
    if (__atomic_load_n(&sleepers_, __ATOMIC_SEQ_CST) == 0) return;
    ::pthread_mutex_lock(&mutex_);
    ::pthread_cond_broadcast(&changed_);
    ::pthread_mutex_unlock(&mutex_);
  }
  static std::int64_t monotonic_ns() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }

  void join() noexcept {
    stop_ = true;
    start_epoch();
    for (std::size_t t = 1; t < workers_.size(); ++t) ::pthread_join(workers_[t].id, nullptr);
    workers_.clear();
  }

  std::vector<Worker> workers_;
  Task task_;          // published by epoch_
  bool stop_ = false;  // published by epoch_
  bool spin_ = false;  // written before the workers start
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed_ = PTHREAD_COND_INITIALIZER;
  alignas(64) std::uint32_t epoch_ = 0;    // read and written by __atomic builtins only, as are the next two
  alignas(64) std::uint32_t pending_ = 0;  // workers that are not done with this epoch
  alignas(64) std::uint32_t sleepers_ = 0;
};

}  // namespace v0
}  // namespace expert
