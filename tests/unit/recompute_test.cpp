// RecomputeLayers: the bits of KeepActivations from a fraction of the activations.
#include <vector>

#include "catch.hpp"
#include "small_run.hpp"

using namespace small_run;

namespace {

using Kept = Small<Batch<4>>;
using Recomputed = With<Kept, RecomputeLayers>;

// Rows of two documents each. Every token bears loss, so that a pass fills every buffer.
TokenBatch random_batch() {
  const RandomStream random(3, Purpose::shuffle);
  TokenBatch batch;
  batch.row_begin = {0, 32, 64, 96, 128};
  batch.documents = 8;
  for (std::int32_t i = 0; i < 128; ++i) {
    const std::int32_t begin = i / 32 * 32 + (i % 32 >= 20 ? 20 : 0);
    const auto draw = static_cast<std::uint64_t>(2 * i);
    batch.input_ids.push_back(static_cast<std::int32_t>(random.below(draw, 512)));
    batch.labels.push_back(static_cast<std::int32_t>(random.below(draw + 1, 512)));
    batch.positions.push_back(i - begin);
    batch.keys.push_back({0, 0, begin, i + 1});
  }
  return batch;
}

template <class E>
void scatter(Trainer<E>& trainer) {  // B starts at zero, where the gradient of A vanishes
  const RandomStream random(11, Purpose::init_lora_a);
  for (std::int64_t i = 0; i < trainable_parameters<E>; ++i)
    trainer.parameters()[i] += 0.05f * (2 * random.uniform(static_cast<std::uint64_t>(i)) - 1);
  trainer.parameters_changed();
}

}  // namespace

TEST_CASE("recomputed layers give the same bits", "[trainer]") {
  CpuDevice device(2);
  const auto kept_weights = load_weights<Kept>(model_directory(), device);
  const auto recomputed_weights = load_weights<Recomputed>(model_directory(), device);
  // Two rows at once, so that dropout's place in the step matters.
  const TrainerOptions options{.optimizer = {}, .dropout = 0.1f, .sub_batch_tokens = 64};
  Trainer<Kept> kept(device, kept_weights, options);
  Trainer<Recomputed> recomputed(device, recomputed_weights, options, Arena::Layout::guarded);
  scatter(kept);
  scatter(recomputed);
  const TokenBatch batch = random_batch();
  for (int step = 0; step < 3; ++step) {
    CHECK(kept.accumulate(batch, 0.01f) == recomputed.accumulate(batch, 0.01f));
    bool moved = false, equal = true;
    for (std::int64_t i = 0; i < trainable_parameters<Kept>; ++i) {
      moved = moved || kept.gradients()[i] != 0;
      equal = equal && kept.gradients()[i] == recomputed.gradients()[i];
    }
    CHECK(moved);
    CHECK(equal);
    CHECK(kept.update(1e-2) == recomputed.update(1e-2));
  }
  CHECK(kept.evaluate(batch) == recomputed.evaluate(batch));

  using Plan = TrainingPlan<Recomputed>;
  const auto regions = Plan::regions(64);
  for (std::size_t i = 0; i < regions.size(); ++i) {
    INFO(regions[i].name);
    CHECK(recomputed.arena().touched_bytes(i) == regions[i].bytes);
  }
}

TEST_CASE("of two layers one is kept, and the residual stream of both", "[plan]") {
  using With2 = TrainingPlan<Kept>;
  using With1 = TrainingPlan<Recomputed>;
  const auto all = With2::regions(64), one = With1::regions(64);
  CHECK(one[With1::gate].bytes * 2 == all[With2::gate].bytes);
  CHECK(one[With1::dropout_branch].bytes * 2 == all[With2::dropout_branch].bytes);
  CHECK(one[With1::residual].bytes == all[With2::residual].bytes);
  CHECK(With1::bytes(64) < With2::bytes(64));
}
