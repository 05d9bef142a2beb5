// An adapter from another namespace that trains parameters of its own: gradients are those of the factors it expands
// to, the plan and the checkpoint hold its parameters, and what is saved for PEFT is the LoRA that it equals.
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "examples/vera.hpp"
#include "expert/checkpoint.hpp"
#include "expert/core/ratio.hpp"
#include "expert/registry.hpp"
#include "small_run.hpp"
#include "temp_dir.hpp"

namespace own_adapter_test {
using namespace small_run;

namespace {

struct DroppingVera : lab::VeRA<4> {
  static constexpr Ratio dropout{1, 10};  // fixed by the type, not by the run
  static constexpr auto describe() { return describe_adapter("dropping-vera"); }
};
using Vera = Small<DroppingVera>;
using Lora = Small<LoRA<4, 4>>;

TokenBatch random_batch() {
  const RandomStream random(1, Purpose::shuffle);
  TokenBatch batch;
  batch.row_begin = {0, 32};
  batch.documents = 1;
  for (std::int32_t i = 0; i < 32; ++i) {
    batch.input_ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(2 * i), 512)));
    batch.labels.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(2 * i + 1), 512)));
    batch.positions.push_back(i);
    batch.keys.push_back({0, 0, 0, i + 1});
  }
  return batch;
}

// q, k, v, o, up and down of both layers: 4 numbers of d and one of b per output.
constexpr std::int64_t outputs = AdapterLayout<Vera>::layer_outputs;

}  // namespace

static_assert(trainable_parameters<Vera> == 2 * (6 * 4 + outputs));
static_assert(trainable_parameters<Lora> == AdapterLayout<Vera>::size);

TEST_CASE("gradients of own parameters are those of the factors, by the chain rule", "[adapter]") {
  CpuDevice device(2);
  const auto vera_weights = load_weights<Vera>(model_directory(), device);
  const auto lora_weights = load_weights<Lora>(model_directory(), device);
  Trainer<Vera> vera(device, vera_weights, {}, Arena::Layout::guarded);
  Trainer<Lora> lora(device, lora_weights, {.optimizer = {}, .dropout = 0.1f});
  const RandomStream random(2, Purpose::shuffle);
  for (std::int64_t i = 0; i < trainable_parameters<Vera>; ++i)
    vera.parameters()[i] += random.uniform(static_cast<std::uint64_t>(i));
  vera.parameters_changed();
  std::copy_n(vera.adapter(), trainable_parameters<Lora>, lora.parameters());
  lora.parameters_changed();

  const TokenBatch batch = random_batch();
  CHECK(vera.accumulate(batch, 0.1f) == lora.accumulate(batch, 0.1f));
  const auto by_chain_rule = [&] {
    std::vector<float> own(static_cast<std::size_t>(trainable_parameters<Vera>), 0.0f);
    for (std::int64_t l = 0; l < 2; ++l)
      for (const Projection p : all_projections) {
        if (!Vera::adapter::targets(p)) continue;
        const auto at = AdapterLayout<Vera>::at(l, p);
        const std::int64_t first = OwnLayout<Vera>::at(l, p);
        lab::VeRA<4>::reduce(out_features<SmallModel>(p), in_features<SmallModel>(p), vera.parameters() + first,
                             lora.gradients() + at.a, lora.gradients() + at.b, own.data() + first);
      }
    return own;
  };
  const std::vector<float> once = by_chain_rule();
  CHECK(std::vector<float>(vera.gradients(), vera.gradients() + trainable_parameters<Vera>) == once);
  CHECK(std::count(once.begin(), once.end(), 0.0f) == 0);

  // A second micro-batch is added: nothing of the first is counted again.
  vera.accumulate(batch, 0.1f);
  lora.accumulate(batch, 0.1f);
  const std::vector<float> twice = by_chain_rule();
  for (std::size_t i = 0; i < twice.size(); ++i)
    CHECK(vera.gradients()[i] == Approx(twice[i]).epsilon(1e-4).margin(1e-6));
  vera.update(1e-3);

  const auto regions = TrainingPlan<Vera>::regions(Trainer<Vera>::max_tokens);
  for (std::size_t i = 0; i < regions.size(); ++i) {
    INFO(regions[i].name);
    CHECK(vera.arena().touched_bytes(i) == regions[i].bytes);
  }
}

TEST_CASE("it trains, is saved, read back, and is a LoRA for everybody else", "[adapter]") {
  CpuDevice device(2);
  const auto weights = load_weights<Vera>(model_directory(), device);
  const TempDir temp;
  Trainer<Vera> trainer(device, weights, {});
  const TokenBatch batch = random_batch();
  const double before = trainer.evaluate(batch);
  for (int i = 0; i < 30; ++i) trainer.step({&batch, 1}, 0.02);
  CHECK(trainer.evaluate(batch) < 0.9 * before);

  RunDirectory directory(temp / "run");
  TrainingState state;
  state.global_step = 30;
  const std::string saved = save_checkpoint(directory, trainer, state, {}, model_directory());
  const SafetensorsFile own(saved + "/adapter_parameters.safetensors");
  CHECK(own.tensors().size() == 2 * 6 * 2);
  CHECK(own.find("base_model.model.model.layers.1.mlp.up_proj.vera_lambda_b")->shape == std::vector<std::int64_t>{128});

  const auto lora_weights = load_weights<Lora>(model_directory(), device);
  Trainer<Lora> lora(device, lora_weights, {});
  const std::vector<float> factors = load_adapter<Lora>(saved);
  std::copy(factors.begin(), factors.end(), lora.parameters());
  lora.parameters_changed();
  CHECK(lora.evaluate(batch) == trainer.evaluate(batch));

  Trainer<Vera> resumed(device, weights, {});
  SavedCheckpoint checkpoint;
  checkpoint.path = saved;
  checkpoint.global_step = 30;
  load_checkpoint(checkpoint, resumed);
  trainer.step({&batch, 1}, 0.02);
  resumed.step({&batch, 1}, 0.02);
  CHECK(std::equal(trainer.parameters(), trainer.parameters() + trainable_parameters<Vera>, resumed.parameters()));
}

TEST_CASE("a manifest names it, and one that names another adapter is refused", "[adapter][manifest]") {
  Manifest manifest = load_manifest(EXPERT_SOURCE_DIR "/experts/expert-sql/manifest.json");
  using Sql = With<Expert<Qwen3_0_6B, RopeNtkByParts<8192, 32768>, DoRA<12>, Int4Quant, Packing<2048>, Batch<32>,
                          Grammar<SqlPostgres>, ParserStrict, KvPersistence>,
                   lab::VeRA<12>>;
  const std::vector<Mismatch> found = check_manifest<Sql>(manifest);
  REQUIRE(found.size() == 3);
  CHECK(found[0].pointer == "/base_models/0/adapters/0/alpha");
  CHECK(found[1].pointer == "/base_models/0/adapters/0/scaling");
  CHECK(found[2].pointer == "/base_models/0/adapters/0/type");
  for (const char* setting : {"alpha=12", "scaling=vera", "type=vera"})
    set_value(manifest, std::string("base_models.0.adapters.0.").append(setting));
  CHECK(check_manifest<Sql>(manifest).empty());
}

}  // namespace own_adapter_test
