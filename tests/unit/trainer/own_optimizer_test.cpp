// An update rule from another namespace: it trains, its moments alone are planned and saved, and a resumed run has the
// same bits.
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "expert/checkpoint.hpp"
#include "expert/core/random.hpp"
#include "expert/policy/assemble.hpp"
#include "small_model.hpp"
#include "temp_dir.hpp"

namespace own_optimizer_test {
using namespace expert;

namespace lab {

// Lion, arXiv 2302.06675: the sign of an interpolation, one moment.
struct Lion {
  using slot = slots::optimizer;
  static constexpr std::string_view optim = "lion";
  static constexpr std::int64_t moments = 1;
  static constexpr float beta1 = 0.9f, beta2 = 0.99f;
  static void update(const UpdateStep& step, std::int64_t n, float* parameters, const float* gradients, float* m,
                     float*) noexcept {
    const auto rate = static_cast<float>(step.learning_rate), decay = static_cast<float>(step.weight_decay);
    for (std::int64_t i = 0; i < n; ++i) {
      const float g = gradients[i] * static_cast<float>(step.clip), c = beta1 * m[i] + (1 - beta1) * g;
      parameters[i] -= rate * (static_cast<float>((c > 0) - (c < 0)) + decay * parameters[i]);
      m[i] = beta2 * m[i] + (1 - beta2) * g;
    }
  }
  static constexpr auto describe() { return std::array{Field{"/training/config/optim", optim}}; }
};

}  // namespace lab

namespace {

using tests::SmallModel;
using WithAdamW = Expert<SmallModel, Compute<f32>, Packing<32>, Batch<2>, DoRA<4>>;
using E = With<WithAdamW, lab::Lion>;
const std::string model_directory = EXPERT_SOURCE_DIR "/tests/parity/data/model";

TokenBatch random_batch(std::uint64_t seed) {
  const RandomStream random(seed, Purpose::shuffle);
  TokenBatch batch;
  batch.row_begin = {0, 32, 64};
  batch.documents = 2;
  for (std::int32_t i = 0; i < 64; ++i) {
    const std::int32_t row = i / 32 * 32;
    batch.input_ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(2 * i), 512)));
    batch.labels.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(2 * i + 1), 512)));
    batch.positions.push_back(i - row);
    batch.keys.push_back({0, 0, row, i + 1});
  }
  return batch;
}

std::vector<float> copy_of(const float* values) { return {values, values + trainable_parameters<E>}; }

}  // namespace

static_assert(TrainingPlan<WithAdamW>::bytes(64) - TrainingPlan<E>::bytes(64) ==
              aligned(trainable_parameters<E> * std::int64_t{sizeof(float)}));

TEST_CASE("a user's rule makes the step", "[optimizer]") {
  CpuDevice device(2);
  const auto weights = load_weights<E>(model_directory, device);
  Trainer<E> trainer(device, weights, {.optimizer = {.weight_decay = 0, .max_grad_norm = 0}});
  const TokenBatch batch = random_batch(1);
  trainer.accumulate(batch, 1 / static_cast<float>(batch.loss_tokens()));
  std::vector<float> parameters = copy_of(trainer.parameters()), m(parameters.size(), 0.0f);
  const std::vector<float> gradients = copy_of(trainer.gradients());
  lab::Lion::update({.step = 1, .learning_rate = 0.01}, trainable_parameters<E>, parameters.data(), gradients.data(),
                    m.data(), nullptr);
  trainer.update(0.01);
  CHECK(copy_of(trainer.parameters()) == parameters);
  CHECK(copy_of(trainer.first_moment()) == m);
  const double before = trainer.evaluate(batch);
  for (int i = 0; i < 20; ++i) trainer.step({&batch, 1}, 0.003);
  CHECK(trainer.evaluate(batch) < 0.95 * before);
}

TEST_CASE("one moment is saved and read back", "[optimizer]") {
  CpuDevice device(2);
  const auto weights = load_weights<E>(model_directory, device);
  const TempDir temp;
  Trainer<E> whole(device, weights, {});
  for (std::uint64_t i = 0; i < 3; ++i) {
    const TokenBatch batch = random_batch(i);
    whole.step({&batch, 1}, 0.01);
  }
  RunDirectory directory(temp / "run");
  TrainingState state;
  state.global_step = 3;
  const std::string saved = save_checkpoint(directory, whole, state, {}, model_directory);
  const SafetensorsFile moments(saved + "/optimizer.safetensors");
  for (const TensorView& tensor : moments.tensors()) CHECK(tensor.name.starts_with("exp_avg."));
  Trainer<E> resumed(device, weights, {});
  SavedCheckpoint checkpoint;
  checkpoint.path = saved;
  checkpoint.global_step = 3;
  load_checkpoint(checkpoint, resumed);
  const TokenBatch next = random_batch(9);
  whole.step({&next, 1}, 0.01);
  resumed.step({&next, 1}, 0.01);
  CHECK(copy_of(resumed.parameters()) == copy_of(whole.parameters()));
}

}  // namespace own_optimizer_test
