// What is computed twice to save memory: recomputed layers and attention have the bits of KeepActivations,
// RecomputedCrossEntropy the numbers of ChunkedCrossEntropy.
#include <algorithm>
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "small_run.hpp"
#include "usable_isas.hpp"

namespace recompute_test {
using namespace small_run;

namespace {

using Kept = Small<Batch<4>>;

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

TEMPLATE_TEST_CASE("what is recomputed gives the same bits", "[trainer]", RecomputeAttention, RecomputeLayers) {
  using Recomputed = With<Kept, TestType>;
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

TEST_CASE("of two layers one is kept, or one's attention, and the residual stream of both", "[plan]") {
  using Plan = TrainingPlan<Kept>;
  const auto all = Plan::regions(64, Recompute::none), one = Plan::regions(64, Recompute::layers),
             attention = Plan::regions(64, Recompute::attention);
  for (const std::size_t i : {Plan::q_rotated, Plan::v_scaled, Plan::context, Plan::log_sum_exp}) {
    INFO(all[i].name);
    CHECK(one[i].bytes * 2 == all[i].bytes);
    CHECK(attention[i].bytes == one[i].bytes);
  }
  for (const std::size_t i : {Plan::gate, Plan::q, Plan::dropout_branch}) {
    INFO(all[i].name);
    CHECK(one[i].bytes * 2 == all[i].bytes);
    CHECK(attention[i].bytes == all[i].bytes);
  }
  CHECK(one[Plan::residual].bytes == all[Plan::residual].bytes);
  CHECK(attention[Plan::residual].bytes == all[Plan::residual].bytes);
}

namespace {

constexpr std::int64_t row_bytes(Recompute mode) {
  return total_bytes(TrainingPlan<Kept>::regions(Kept::packing::max_seq_length, mode));
}
template <std::int64_t bytes>
using ToFit = TrainingPlan<With<Kept, RecomputeToFit, Budget<bytes>>>;

}  // namespace

TEST_CASE("the planner takes the least arithmetic with which a row fits", "[plan]") {
  constexpr std::int64_t kept = row_bytes(Recompute::none), attention = row_bytes(Recompute::attention),
                         layers = row_bytes(Recompute::layers);
  STATIC_REQUIRE((kept > attention && attention > layers));
  STATIC_REQUIRE((ToFit<kept>::recompute == Recompute::none && ToFit<kept>::sub_batch_rows == 1));
  STATIC_REQUIRE(ToFit<kept - 1>::recompute == Recompute::attention);
  STATIC_REQUIRE(ToFit<attention - 1>::recompute == Recompute::layers);
  STATIC_REQUIRE(ToFit<layers>::bytes(ToFit<layers>::max_tokens) == layers);
}

TEST_CASE("a recomputed loss is the loss, and so is its gradient", "[trainer]") {
  using Cut = With<Kept, RecomputedCrossEntropy<32, 100>>;  // the last part of the 512 logits has 12
  CpuDevice device(2);
  const auto kept_weights = load_weights<Kept>(model_directory(), device);
  const auto cut_weights = load_weights<Cut>(model_directory(), device);
  const TrainerOptions options{.optimizer = {}, .sub_batch_tokens = 64};
  Trainer<Kept> kept(device, kept_weights, options);
  Trainer<Cut> cut(device, cut_weights, options, Arena::Layout::guarded);
  scatter(kept);
  scatter(cut);
  const TokenBatch batch = random_batch();
  const double loss = kept.accumulate(batch, 0.01f);
  CHECK(std::abs(cut.accumulate(batch, 0.01f) - loss) < 1e-6 * loss);
  CHECK(std::abs(cut.loss_sum(batch) - loss) < 1e-6 * loss);
  float largest = 0, worst = 0;
  for (std::int64_t i = 0; i < trainable_parameters<Kept>; ++i) {
    largest = std::max(largest, std::abs(kept.gradients()[i]));
    worst = std::max(worst, std::abs(kept.gradients()[i] - cut.gradients()[i]));
  }
  CHECK(largest > 0);
  CHECK(worst < 2e-6f * largest);
}

TEST_CASE("a recomputed loss of bf16 rounds the gradient of a row once", "[trainer]") {
  constexpr std::int64_t tokens = 40, width = 96, vocab = 700;
  const RandomStream random(17, Purpose::augment);
  std::uint64_t draws = 0;
  const auto numbers = [&](std::int64_t n, float size) {
    std::vector<bf16> values;
    for (std::int64_t i = 0; i < n; ++i) values.emplace_back(size * (2 * random.uniform(draws++) - 1));
    return values;
  };
  const std::vector<bf16> head = numbers(vocab * width, 0.5f), hidden = numbers(tokens * width, 1.0f);
  std::vector<std::int32_t> labels;
  for (std::int64_t t = 0; t < tokens; ++t)
    labels.push_back(t % 7 == 3 ? ignore_index : static_cast<std::int32_t>(random.below(draws++, vocab)));
  const MatrixView lm_head{head.data(), vocab, width, Storage::bf16};
  for (const Isa isa : all_usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    const auto run = [&](std::int64_t vocab_rows, std::vector<bf16>& d_hidden, std::vector<float>& d_head) {
      constexpr std::int64_t chunk = 16;
      std::vector<bf16> rows(chunk * width), d_rows(rows),
          logits(static_cast<std::size_t>(chunk * (vocab_rows > 0 ? vocab_rows : vocab)));
      std::vector<float> losses(chunk), state(chunk * (3 + width));
      std::vector<std::int32_t> index(tokens), chunk_labels(chunk);
      d_hidden.resize(tokens * width), d_head.resize(vocab * width);
      const LossBuffers<bf16> buffers{rows.data(),         d_rows.data(), logits.data(), losses.data(), index.data(),
                                      chunk_labels.data(), chunk,         vocab_rows,    state.data()};
      return loss_forward_backward(cpu, tokens, lm_head, hidden.data(), labels.data(), 0.02f, buffers, d_hidden.data(),
                                   d_head.data());
    };
    std::vector<bf16> whole, parts;
    std::vector<float> whole_head, parts_head;
    const double loss = run(0, whole, whole_head);
    INFO(name_of(isa));
    CHECK(std::abs(run(128, parts, parts_head) - loss) < 1e-5 * loss);
    float largest = 0, worst = 0;
    for (std::size_t i = 0; i < whole.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<float>(whole[i])));
      worst = std::max(worst, std::abs(static_cast<float>(whole[i]) - static_cast<float>(parts[i])));
    }
    CHECK(worst <= 0x1p-7f * largest);  // one unit of bf16 in the largest
    bool same = true;
    for (std::size_t i = 0; i < whole_head.size(); ++i)
      same = same && std::abs(whole_head[i] - parts_head[i]) <= 1e-3f * std::abs(whole_head[i]) + 1e-6f;
    CHECK(same);
  }
}

}  // namespace recompute_test
