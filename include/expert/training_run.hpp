// The loop: a trainer, training data, options and callbacks -> a trained adapter (or base), a log, checkpoints.
#pragma once
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/checkpoint.hpp"
#include "expert/io/training_state.hpp"
#include "expert/optimizer.hpp"
#include "expert/tokens.hpp"
#include "expert/trainer.hpp"

namespace expert {
inline namespace v0 {

// A callback is any object that has some of these members; one that is missing is not called. Exceptions end the run.
//
//   void on_train_begin(const TrainingState&);                       // global_step > 0: it goes on from a checkpoint,
//                                                                    // log_history holds the rows up to there
//   void on_step_end(const TrainingState&, const StepResult&);
//   void on_log(const TrainingState&, const Json& row);              // the row is the last of log_history
//   void on_evaluate(const TrainingState&, const Json& row);         // likewise
//   void on_save(const TrainingState&, const std::string& path);     // path/checkpoint-N is complete and on the disk
//   void on_train_end(const TrainingState&);
//   bool should_training_stop(const TrainingState&);                 // asked after each step; the first yes ends the
//                                                                    // run after saving, with TrainingStop::requested
//
// Within a step the order is on_step_end, on_log, on_evaluate, on_save, should_training_stop.
namespace notify {

template <class C>
void train_begin(C& c, const TrainingState& s) {
  if constexpr (requires { c.on_train_begin(s); }) c.on_train_begin(s);
}
template <class C>
void step_end(C& c, const TrainingState& s, const StepResult& r) {
  if constexpr (requires { c.on_step_end(s, r); }) c.on_step_end(s, r);
}
template <class C>
void log(C& c, const TrainingState& s, const Json& row) {
  if constexpr (requires { c.on_log(s, row); }) c.on_log(s, row);
}
template <class C>
void evaluate(C& c, const TrainingState& s, const Json& row) {
  if constexpr (requires { c.on_evaluate(s, row); }) c.on_evaluate(s, row);
}
template <class C>
void save(C& c, const TrainingState& s, const std::string& path) {
  if constexpr (requires { c.on_save(s, path); }) c.on_save(s, path);
}
template <class C>
void train_end(C& c, const TrainingState& s) {
  if constexpr (requires { c.on_train_end(s); }) c.on_train_end(s);
}
template <class C>
bool should_training_stop(C& c, const TrainingState& s) {
  if constexpr (requires { c.should_training_stop(s); }) return c.should_training_stop(s);
  return false;
}

}  // namespace notify

inline constexpr ErrorCode bad_run_option{300, "an option of the training run is not possible"};

// When something is done besides at the end, with the words of transformers.
enum class IntervalStrategy : std::uint8_t { no, steps, epoch };
inline constexpr std::string_view interval_names[] = {"no", "steps", "epoch"};

// Names of transformers.TrainingArguments and EarlyStoppingCallback.
struct TrainingRunOptions {
  double num_train_epochs = 3;
  std::int64_t max_steps = -1;  // > 0: takes precedence over epochs
  std::int64_t logging_steps = 10;
  IntervalStrategy eval_strategy = IntervalStrategy::no;
  std::int64_t eval_steps = 500;
  bool eval_on_start = false;  // evaluates before the first step too
  IntervalStrategy save_strategy = IntervalStrategy::steps;
  std::int64_t save_steps = 500, save_total_limit = 0;  // 0: all are kept; else never fewer than two
  bool load_best_model_at_end = false;                  // each best one is saved, whatever save_strategy says
  std::string metric_for_best_model = "eval_loss";
  bool greater_is_better = false;
  std::int64_t early_stopping_patience = 0;  // evaluations in a row without a better metric; 0: never stops
  double early_stopping_threshold = 0;
};

// Throws E300 for the first option that is out of range or has nothing to act on.
inline void check_run_options(const TrainingRunOptions& o, bool has_evaluation, bool has_directory) {
  const auto require = [](bool ok, const char* key, const char* expected, const std::string& got, const char* fix) {
    if (!ok)
      throw Error(bad_run_option,
                  {.where = std::string("/training/config/") + key, .expected = expected, .got = got, .fix = fix});
  };
  const auto at_least_1 = [&](const char* key, std::int64_t value) {
    require(value >= 1, key, "at least 1", std::to_string(value), "Name a number of steps");
  };
  require(o.max_steps > 0 || (o.num_train_epochs > 0 && o.num_train_epochs <= 1e6), "epochs", "above 0, at most 1e6",
          std::to_string(o.num_train_epochs), "Name a number of epochs or max_steps");
  at_least_1("logging_steps", o.logging_steps);
  at_least_1("eval_steps", o.eval_steps);
  at_least_1("save_steps", o.save_steps);
  require(o.save_total_limit >= 0, "save_total_limit", "at least 0", std::to_string(o.save_total_limit), "0 keeps all");
  require(o.metric_for_best_model == "eval_loss" || o.metric_for_best_model == "loss", "metric_for_best_model",
          "\"eval_loss\"", expert::quoted(o.metric_for_best_model), "No other metric is computed while training");
  require(!o.greater_is_better, "greater_is_better", "false for eval_loss", "true", "Remove it");
  require(o.early_stopping_patience >= 0 && o.early_stopping_threshold >= 0, "early_stopping_patience",
          "patience and threshold of at least 0", std::to_string(o.early_stopping_patience), "0 never stops early");
  const bool evaluates = has_evaluation && o.eval_strategy != IntervalStrategy::no;
  const char* fix = "Give evaluation rows and an evaluation_strategy other than no";
  require(evaluates || !o.load_best_model_at_end, "load_best_model_at_end", "evaluations to compare", "none", fix);
  require(evaluates || o.early_stopping_patience == 0, "early_stopping_patience", "evaluations to compare", "none",
          fix);
  require(has_directory || !o.load_best_model_at_end, "load_best_model_at_end", "a directory for the best model",
          "none", "Call save_into");
}

namespace detail {

inline double monotonic_seconds() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace detail

// Mean over the loss tokens of all rows, without dropout: what `eval_loss` is.
template <class E>
double evaluate(Trainer<E>& trainer, TrainingData& rows) {
  double loss = 0;
  std::int64_t tokens = 0;
  for (std::int64_t i = 0; i < rows.steps_per_epoch(); ++i)
    for (const TokenBatch& batch : rows.step(i)) {
      loss += trainer.loss_sum(batch);
      tokens += batch.loss_tokens();
    }
  return loss / static_cast<double>(tokens);
}

// Trainer and data must outlive it, and what evaluate_on and save_into are given.
//
//   TrainingRun<E> run(trainer, data, {.max_steps = 100});
//   run.train(callback, another);
template <class E>
class TrainingRun {
 public:
  TrainingRun(Trainer<E>& trainer, TrainingData& data, TrainingRunOptions options = {})
      : trainer_(trainer), data_(data), options_(std::move(options)) {
    check_run_options(options_, true, true);
    state_.steps_per_epoch = data.steps_per_epoch();
    state_.max_steps =
        options_.max_steps > 0
            ? options_.max_steps
            : std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(
                                            options_.num_train_epochs * static_cast<double>(data.steps_per_epoch()))));
    state_.num_train_epochs = epochs(state_.max_steps);
    state_.train_batch_size = data.batch_size();
    state_.logging_steps = options_.logging_steps;
    state_.eval_steps = options_.eval_steps;
    state_.save_steps = options_.save_steps;
    state_.packing_fill = data.fill();
  }

  // Rows for eval_loss; make them with shuffled = false and one micro-batch a step.
  void evaluate_on(TrainingData& rows) { evaluation_ = &rows; }
  // Where checkpoints go; without it none are written. `inputs` tells what the caller read (checkpoint.hpp).
  void save_into(RunDirectory& directory, std::string base_model, RunItems inputs = {}) {
    directory_ = &directory;
    base_model_ = std::move(base_model);
    inputs_ = std::move(inputs);
  }

  // All that decides the numbers of this run.
  RunItems items() const {
    RunItems items = run_items(trainer_, data_, trainer_.options().optimizer, state_.max_steps);
    items.push_back({"evaluation rows", evaluates() ? Json(rows_hash(evaluation_->data().documents)) : Json("none")});
    items.insert(items.begin(), inputs_.begin(), inputs_.end());
    return items;
  }

  // Goes on from the checkpoint. Returns one line where the bits may differ from those of the uninterrupted run, else
  // "". Throws E271 where it belongs to another run, and what load_checkpoint throws.
  std::string resume(const SavedCheckpoint& checkpoint) {
    std::string line = compare_runs(items(), checkpoint);
    TrainingState saved = load_checkpoint(checkpoint, trainer_);
    saved.max_steps = state_.max_steps, saved.num_train_epochs = state_.num_train_epochs;
    saved.steps_per_epoch = state_.steps_per_epoch;
    saved.logging_steps = state_.logging_steps, saved.eval_steps = state_.eval_steps;
    saved.save_steps = state_.save_steps;
    if (saved.stop_reason == TrainingStop::requested ||
        (saved.stop_reason == TrainingStop::finished && saved.global_step < saved.max_steps))
      saved.stop_reason = TrainingStop::running;
    if (!saved.best_model_checkpoint.empty() && directory_ != nullptr)  // the directory may have moved
      saved.best_model_checkpoint = directory_->checkpoint_path(saved.best_global_step);
    state_ = std::move(saved);
    saved_step_ = state_.global_step;
    return line;
  }

  const TrainingState& state() const { return state_; }
  bool finished() const {
    return state_.global_step >= state_.max_steps || state_.stop_reason == TrainingStop::early_stopping;
  }

  // Runs to the end, or until a callback asks to stop. With load_best_model_at_end the trainer holds the parameters of
  // the best checkpoint afterwards. Throws what Trainer::step, save_checkpoint and callbacks throw, and E300.
  template <class... Callbacks>
  const TrainingState& train(Callbacks&&... callbacks) {
    check_run_options(options_, evaluation_ != nullptr, directory_ != nullptr);
    if (directory_ != nullptr) recorded_ = items();
    const double begin = detail::monotonic_seconds() - state_.seconds;
    (notify::train_begin(callbacks, state_), ...);
    if (options_.eval_on_start && evaluates() && state_.global_step == 0 && state_.log_history.items().empty())
      if (evaluate_now(callbacks...) && options_.load_best_model_at_end) save(callbacks...);
    while (!finished() && state_.stop_reason == TrainingStop::running) {
      step(callbacks...);
      state_.seconds = detail::monotonic_seconds() - begin;
      after_step(callbacks...);
    }
    if (options_.load_best_model_at_end && finished() && !state_.best_model_checkpoint.empty())
      load_parameters(verify_checkpoint(state_.best_model_checkpoint).path, trainer_);
    (notify::train_end(callbacks, state_), ...);
    return state_;
  }

 private:
  double epochs(std::int64_t steps) const {
    return static_cast<double>(steps) / static_cast<double>(state_.steps_per_epoch);
  }
  bool evaluates() const { return evaluation_ != nullptr && options_.eval_strategy != IntervalStrategy::no; }
  bool due(IntervalStrategy interval, std::int64_t steps) const {
    const bool end = finished();
    if (interval == IntervalStrategy::steps) return end || state_.global_step % steps == 0;
    return interval == IntervalStrategy::epoch && (end || state_.global_step % state_.steps_per_epoch == 0);
  }

  template <class... Callbacks>
  void step(Callbacks&... callbacks) {
    const double begin = detail::monotonic_seconds();
    const std::int64_t index = state_.global_step;
    const std::vector<TokenBatch> batches = data_.step(index);
    last_ = trainer_.step(batches, learning_rate_at(trainer_.options().optimizer, index, state_.max_steps));
    state_.global_step = last_.step;
    state_.epoch = epochs(last_.step);
    state_.num_input_tokens_seen += last_.tokens;
    state_.window.loss_sum += last_.loss * static_cast<double>(last_.loss_tokens);
    state_.window.loss_tokens += last_.loss_tokens;
    state_.window.tokens += last_.tokens;
    state_.window.seconds += detail::monotonic_seconds() - begin;
    if (const std::int64_t epoch = index / state_.steps_per_epoch; epoch != filled_epoch_) {
      filled_epoch_ = epoch;
      state_.packing_fill = data_.fill();
    }
    (notify::step_end(callbacks, state_, last_), ...);
  }

  template <class... Callbacks>
  void after_step(Callbacks&... callbacks) {
    if (state_.global_step % options_.logging_steps == 0 || finished()) log(callbacks...);
    bool improved = false;
    if (evaluates() && due(options_.eval_strategy, options_.eval_steps)) improved = evaluate_now(callbacks...);
    if (state_.stop_reason == TrainingStop::early_stopping && state_.window.loss_tokens > 0) log(callbacks...);
    if (state_.stop_reason == TrainingStop::running && finished()) state_.stop_reason = TrainingStop::finished;
    if (due(options_.save_strategy, options_.save_steps) || (improved && options_.load_best_model_at_end))
      save(callbacks...);
    bool stop = false;
    ((stop |= notify::should_training_stop(callbacks, state_)), ...);  // all are asked
    if (finished() || !stop) return;
    state_.stop_reason = TrainingStop::requested;
    save(callbacks...);
  }

  template <class... Callbacks>
  void log(Callbacks&... callbacks) {
    LogWindow& window = state_.window;
    Json row = Json::object();
    row.set("loss", window.loss_sum / static_cast<double>(window.loss_tokens))
        .set("grad_norm", last_.grad_norm)
        .set("learning_rate", last_.learning_rate)
        .set("epoch", state_.epoch)
        .set("step", state_.global_step)
        .set("num_tokens", state_.num_input_tokens_seen)
        .set("tokens_per_second", static_cast<double>(window.tokens) / std::max(window.seconds, 1e-9))
        .set("seconds", state_.seconds);
    window = {};
    state_.log_history.push(row);
    (notify::log(callbacks, state_, row), ...);
  }

  // EarlyStoppingCallback's rule: better by more than the threshold sets the counter back.
  template <class... Callbacks>
  bool evaluate_now(Callbacks&... callbacks) {
    const double begin = detail::monotonic_seconds();
    const double loss = evaluate(trainer_, *evaluation_);
    const double seconds = detail::monotonic_seconds() - begin;
    state_.seconds += seconds;
    const bool better = !state_.best_metric || loss < *state_.best_metric;
    const bool enough =
        better && (!state_.best_metric || *state_.best_metric - loss > options_.early_stopping_threshold);
    state_.early_stopping_patience_counter = enough ? 0 : state_.early_stopping_patience_counter + 1;
    if (better) {
      state_.best_metric = loss;
      state_.best_global_step = state_.global_step;
      state_.best_model_checkpoint.clear();
    }
    Json row = Json::object();
    row.set("eval_loss", loss).set("epoch", state_.epoch).set("step", state_.global_step).set("eval_runtime", seconds);
    state_.log_history.push(row);
    (notify::evaluate(callbacks, state_, row), ...);
    const std::int64_t patience = options_.early_stopping_patience;
    if (patience > 0 && state_.early_stopping_patience_counter >= patience && !finished())
      state_.stop_reason = TrainingStop::early_stopping;
    return better;
  }

  template <class... Callbacks>
  void save(Callbacks&... callbacks) {
    if (directory_ == nullptr || saved_step_ == state_.global_step) return;
    if (state_.best_metric && state_.best_global_step == state_.global_step)
      state_.best_model_checkpoint = directory_->checkpoint_path(state_.global_step);
    const std::string path = save_checkpoint(*directory_, trainer_, state_, recorded_, base_model_);
    saved_step_ = state_.global_step;
    const bool best_is_saved = !state_.best_model_checkpoint.empty();
    directory_->remove_old(options_.save_total_limit, best_is_saved ? state_.best_global_step : -1);
    (notify::save(callbacks, state_, path), ...);
  }

  Trainer<E>& trainer_;
  TrainingData& data_;
  TrainingRunOptions options_;
  TrainingData* evaluation_ = nullptr;
  RunDirectory* directory_ = nullptr;
  std::string base_model_;
  RunItems inputs_, recorded_;
  TrainingState state_;
  StepResult last_;
  std::int64_t saved_step_ = -1, filled_epoch_ = -1;
};

}  // namespace v0
}  // namespace expert
