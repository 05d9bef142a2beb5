// The memory plan of the mission's SQL expert as a theorem: 32 rows of 2048 tokens on Qwen3-0.6B.
#include "catch.hpp"
#include "expert/plan/memory.hpp"
#include "experts/expert-sql/expert.hpp"

namespace plan_test {
using namespace expert;

namespace {

template <class... Ps>
using Plan = TrainingPlan<With<SqlExpert<>, Ps...>>;
constexpr std::int64_t row = 2048, batch = 32 * row;

// A batch fits into 24 GiB, eight rows at a time; with recomputed layers all at once.
static_assert(Plan<>::bytes(Plan<>::max_tokens) <= 24_GiB && Plan<>::sub_batch_rows == 8);
static_assert(Plan<RecomputeLayers>::bytes(batch) <= 24_GiB && Plan<RecomputeLayers>::sub_batch_rows == 32);

// With recomputed layers the mission's 3.75 GB hold the plan and the quantised base; without, not even one row.
constexpr std::int64_t mission = 3'750'000'000;
using Lean = With<SqlExpert<>, RecomputeLayers, Budget<mission - base_bytes<SqlExpert<>>>>;
static_assert(TrainingPlan<Lean>::bytes(TrainingPlan<Lean>::max_tokens) + base_bytes<Lean> <= mission);
static_assert(TrainingPlan<Lean>::sub_batch_rows == 8);
static_assert(Plan<>::bytes(row) + base_bytes<SqlExpert<>> > mission);
using ToFit = With<SqlExpert<>, RecomputeToFit, Budget<mission - base_bytes<SqlExpert<>>>>;
static_assert(TrainingPlan<ToFit>::recompute == Recompute::attention &&
              Plan<RecomputeToFit>::recompute == Recompute::none);

// The naive plans do not: the batch at once with every activation, or with the logits of the whole batch.
using WholeLogits = ChunkedCrossEntropy<batch>;
static_assert(Plan<>::bytes(batch) > 24_GiB);
static_assert(Plan<WholeLogits>::bytes(batch) > 24_GiB);
static_assert(Plan<RecomputeLayers, WholeLogits>::bytes(batch) > 24_GiB);
static_assert(batch * Qwen3_0_6B::vocab_size * std::int64_t{sizeof(float)} > 37_GiB);

// The low-memory loss takes the logits of a chunk away, and leaves the rest as it is.
using CutLoss = RecomputedCrossEntropy<512, 4096>;
static_assert(Plan<>::bytes(row) - Plan<CutLoss>::bytes(row) ==
              512 * ((Qwen3_0_6B::vocab_size - 4096) * 2 - (3 + Qwen3_0_6B::hidden_size) * 4));

// NF4: half a byte and a scale of four for 64 of the 440,401,920 projection weights; the embedding, tied to the head,
// and the norms in bf16.
static_assert(base_bytes<SqlExpert<>> == 440'401'920 / 2 + 440'401'920 / 64 * 4 + (596'049'920 - 440'401'920) * 2);
static_assert(base_bytes<With<SqlExpert<>, Bf16Weights>> == 596'049'920 * 2);

}  // namespace

TEST_CASE("the plan's theorems hold where this file compiles", "[plan]") { SUCCEED(); }

}  // namespace plan_test
