// expect: EXPERT-E025: this kv policy persists a cache that it does not keep. Use KvPersistence or NoKvCache.
#include "expert/policy/assemble.hpp"

using namespace expert;

struct Mine {
  using slot = slots::kv;
#ifdef EXPECT_FAIL
  static constexpr bool caches = false, persists = true;
#else
  static constexpr bool caches = true, persists = true;
#endif
  static constexpr std::array<Field, 0> describe() { return {}; }
};
using E = Expert<DoRA<4>, Mine>;
int main() { return static_cast<int>(sizeof(E)) - 1; }
