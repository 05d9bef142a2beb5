// A training that takes milliseconds: a model of two layers, documents drawn from a seed, several of them in each row,
// an epoch of some 23 steps. For the tests of the loop, of checkpoints and of kills.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "expert/io/training_log.hpp"
#include "expert/policy/assemble.hpp"
#include "expert/training_run.hpp"
#include "small_model.hpp"

namespace small_run {
using namespace expert;

using tests::SmallModel;
template <class... Ps>
using Small = With<Expert<SmallModel, Compute<f32>, Packing<32>, Batch<1>, DoRAWithDropout<4>>, Ps...>;
using SmallBase = With<Expert<SmallModel, Compute<f32>, Packing<32>, Batch<1>>, FullFineTune, NoAdapter>;

inline std::string model_directory() { return std::string(EXPERT_SOURCE_DIR) + "/tests/parity/data/model"; }

// Documents of 5 to 13 tokens whose first two bear no loss.
inline TrainingData rows(std::int64_t documents, std::uint64_t seed, bool shuffled, std::int64_t accumulation = 2,
                         std::uint64_t order_seed = 42) {
  const RandomStream random(seed, Purpose::shuffle);
  Dataset data;
  std::uint64_t draw = 0;
  for (std::int64_t d = 0; d < documents; ++d) {
    std::vector<std::int32_t> ids(5 + random.below(draw++, 9));
    for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random.below(draw++, 512));
    std::vector<std::uint8_t> loss(ids.size(), 1);
    loss[0] = loss[1] = 0;
    data.documents.add(ids, loss);
    data.lines.push_back(d + 1);
  }
  return TrainingData(std::move(data), {.max_seq_length = 32, .packed = true, .shuffled = shuffled, .seed = order_seed},
                      1, accumulation, "rows");
}

inline TrainerOptions trainer_options() {
  return {.optimizer = {.learning_rate = 1e-2, .lr_scheduler = LrScheduler::cosine, .warmup_ratio = 0.1},
          .dropout = 0.1f,
          .seed = 42};
}

inline TrainingRunOptions run_options(std::int64_t max_steps) {
  return {.max_steps = max_steps,
          .logging_steps = 4,
          .eval_strategy = IntervalStrategy::steps,
          .eval_steps = 10,
          .save_strategy = IntervalStrategy::steps,
          .save_steps = 7,
          .save_total_limit = 2};
}

// Everything that a run needs, alive together.
template <class E = Small<>>
struct Run {
  CpuDevice device;
  Weights<E> weights;
  TrainingData data, valid;
  Trainer<E> trainer;
  TrainingRun<E> run;

  explicit Run(const TrainingRunOptions& options, int threads = 1,
               const TrainerOptions& trainer_with = trainer_options(), Isa isa = best_isa(),
               TrainingData with = rows(150, 7, true))
      : device(threads, isa),
        weights(load_weights<E>(model_directory(), device)),
        data(std::move(with)),
        valid(rows(20, 8, false, 1)),
        trainer(device, weights, trainer_with),
        run(trainer, data, options) {
    run.evaluate_on(valid);
  }
};

// The log without its timings, which differ from run to run.
inline std::string log_without_timings(const TrainingState& state) {
  std::string text;
  for (const Json& row : state.log_history.items()) {
    for (const auto& [key, value] : row.members())
      if (key != "tokens_per_second" && key != "seconds" && key != "eval_runtime")
        append(text, {key, " ", value.dump(), " "});
    text += "\n";
  }
  return text;
}

// One text that is equal exactly where parameters, both moments, log, best metric and the next 50 batches are.
template <class E>
std::string fingerprint(const Trainer<E>& trainer, TrainingData& data, const TrainingState& state) {
  const auto hash_of = [](const auto* values, std::size_t n) {
    Sha256 hash;
    hash.update(std::as_bytes(std::span(values, n)));
    return hash.hex();
  };
  constexpr auto n = static_cast<std::size_t>(trainable_parameters<E>);
  Sha256 batches;
  for (std::int64_t i = 0; i < 50; ++i)
    for (const TokenBatch& batch : data.step(state.global_step + i)) {
      batches.update(std::as_bytes(std::span(batch.input_ids)));
      batches.update(std::as_bytes(std::span(batch.labels)));
      batches.update(std::as_bytes(std::span(batch.row_begin)));
    }
  std::string text;
  append(text, {"step ", state.global_step, "\nparameters ", hash_of(trainer.parameters(), n), "\nexp_avg ",
                hash_of(trainer.first_moment(), n), "\nexp_avg_sq ", hash_of(trainer.second_moment(), n), "\nbatches ",
                batches.hex(), "\nbest ", Json(state.best_metric.value_or(-1)).dump(), " at ", state.best_global_step,
                "\ntokens ", state.num_input_tokens_seen, "\nlog\n", log_without_timings(state)});
  return text;
}

}  // namespace small_run
