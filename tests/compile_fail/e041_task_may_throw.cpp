// expect: EXPERT-E041: parallel_for needs f(int64 chunk, int thread) to be noexcept. Mark the lambda noexcept.
#include <cstdint>

#include "expert/core/threads.hpp"

void run(expert::ThreadPool& pool) {
#ifdef EXPECT_FAIL
  pool.parallel_for(8, [](std::int64_t, int) {});
#else
  pool.parallel_for(8, [](std::int64_t, int) noexcept {});
#endif
}
int main() {}
