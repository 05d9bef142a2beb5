// 64 rows as 4 micro-batches of 16 or as 2 of 32: one gradient, two memory plans.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "catch.hpp"
#include "expert/core/random.hpp"
#include "expert/data/packing.hpp"
#include "expert/plan/memory.hpp"
#include "expert/policy/assemble.hpp"
#include "expert/trainer.hpp"
#include "small_model.hpp"

namespace batching_test {
using namespace expert;

namespace {

using tests::SmallModel;
template <int Rows>
using Small = Expert<SmallModel, Compute<f32>, Packing<32>, Batch<Rows>, DoRA<4>>;

// More than enough short documents for 64 rows of 32 tokens.
Documents random_documents() {
  const RandomStream random(5, Purpose::shuffle);
  Documents documents;
  std::uint64_t draw = 0;
  for (int d = 0; d < 300; ++d) {
    const auto length = 4 + random.below(draw++, 12);
    std::vector<std::int32_t> ids;
    std::vector<std::uint8_t> loss;
    for (std::uint64_t i = 0; i < length; ++i) {
      ids.push_back(static_cast<std::int32_t>(random.below(draw++, 512)));
      loss.push_back(i >= 2);
    }
    documents.add(ids, loss);
  }
  return documents;
}

template <int Rows>
std::vector<float> gradient(const Documents& documents, const PackedRows& packed) {
  using E = Small<Rows>;
  CpuDevice device(2);
  const auto weights = load_weights<E>(EXPERT_SOURCE_DIR "/tests/parity/data/model", device);
  Trainer<E> trainer(device, weights, {});
  const RandomStream random(11, Purpose::init_lora_a);  // B starts at zero, where the gradient of A vanishes
  for (std::int64_t i = 0; i < trainable_parameters<E>; ++i)
    trainer.parameters()[i] += 0.05f * (2 * random.uniform(static_cast<std::uint64_t>(i)) - 1);
  trainer.parameters_changed();
  std::vector<TokenBatch> micro_batches;
  std::int64_t labels = 0;
  for (std::int64_t first = 0; first < 64; first += Rows) {
    micro_batches.push_back(make_batch(documents, packed, first, Rows));
    labels += micro_batches.back().loss_tokens();
  }
  trainer.clear_gradients();
  for (const TokenBatch& batch : micro_batches) trainer.accumulate(batch, 1 / static_cast<float>(labels));
  using Plan = TrainingPlan<E>;
  std::printf("batch %d x %d: %lld rows at once, %lld planned bytes\n", Rows, 64 / Rows,
              static_cast<long long>(Plan::sub_batch_rows), static_cast<long long>(Plan::bytes(Plan::max_tokens)));
  return {trainer.gradients(), trainer.gradients() + trainable_parameters<E>};
}

}  // namespace

TEST_CASE("batch 16 x 4 and batch 32 x 2 give the same gradient", "[trainer]") {
  const Documents documents = random_documents();
  const PackedRows packed = pack(documents, {.max_seq_length = 32, .seed = 3}, 0);
  REQUIRE(packed.rows.size() >= 64);
  const std::vector<float> sixteen = gradient<16>(documents, packed), thirty_two = gradient<32>(documents, packed);
  REQUIRE(sixteen.size() == thirty_two.size());
  float largest = 0, worst = 0;
  for (std::size_t i = 0; i < sixteen.size(); ++i) {
    largest = std::max(largest, std::abs(thirty_two[i]));
    worst = std::max(worst, std::abs(sixteen[i] - thirty_two[i]));
  }
  std::printf("largest gradient %.3g, largest difference %.3g\n", static_cast<double>(largest),
              static_cast<double>(worst));
  CHECK(largest > 1e-4f);
  CHECK(worst <= 1e-6f * largest);
}

}  // namespace batching_test
