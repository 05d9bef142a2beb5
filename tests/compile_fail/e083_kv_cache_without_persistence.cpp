// expect: EXPERT-E083: this expert's key-value cache is not one that is saved. Add KvPersistence.
#include "expert/kv_cache_file.hpp"
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>>;
#else
using E = Expert<DoRA<4>, KvPersistence>;
#endif
int main() { return static_cast<int>(sizeof(persists_kv<E>)) - 1; }
