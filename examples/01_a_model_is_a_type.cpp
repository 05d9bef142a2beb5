// Why: everything that costs memory is in the type, so what a training step takes is known before anything is loaded,
// and what does not fit does not compile.
#include <cstdio>
#include <expert/plan/memory.hpp>
#include <expert/policy/assemble.hpp>

using namespace expert;

using Sql = Expert<Qwen3_0_6B, DoRA<12>, Packing<2048>, Batch<32>, Budget<24_GiB>>;
using Plan = TrainingPlan<Sql>;

// Any order is the same type; what is not named has a default.
static_assert(std::same_as<Sql, Expert<Batch<32>, DoRA<12>, Packing<2048>>>);
static_assert(trainable_parameters<Sql> == 6'451'200);
static_assert(Plan::bytes(Plan::max_tokens) <= 24_GiB);

int main() {
  std::printf("%d of %d rows at once:\n", int(Plan::sub_batch_rows), int(Sql::batch::batch_size));
  for (const Region& region : Plan::regions(Plan::max_tokens))
    if (region.bytes > 0) std::printf("%9.1f MiB  %s\n", double(region.bytes) / (1 << 20), region.name.data());
}
