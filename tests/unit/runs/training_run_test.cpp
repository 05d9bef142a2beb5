// The loop: its order of events, intervals, evaluation, best model, early stopping, stopping on request, bad options.
#include "expert/training_run.hpp"

#include <filesystem>

#include "catch.hpp"
#include "error_of.hpp"
#include "small_run.hpp"
#include "temp_dir.hpp"

namespace training_run_test {
using namespace expert;
using namespace small_run;

namespace {

// Writes down every event.
struct Recorder {
  std::vector<std::string> events;
  std::int64_t stop_at = -1;

  void on_train_begin(const TrainingState& s) { add("begin", s); }
  void on_step_end(const TrainingState& s, const StepResult& r) {
    CHECK(r.step == s.global_step);
    add("step", s);
  }
  void on_log(const TrainingState& s, const Json& row) {
    CHECK(row.dump() == s.log_history.items().back().dump());
    add("log", s);
  }
  void on_evaluate(const TrainingState& s, const Json& row) {
    CHECK(row.find("eval_loss") != nullptr);
    add("evaluate", s);
  }
  void on_save(const TrainingState& s, const std::string& path) {
    CHECK(path.ends_with("checkpoint-" + std::to_string(s.global_step)));
    CHECK(verify_checkpoint(path).global_step == s.global_step);
    add("save", s);
  }
  void on_train_end(const TrainingState& s) { add("end", s); }
  bool should_training_stop(const TrainingState& s) { return s.global_step == stop_at; }

 private:
  void add(const char* event, const TrainingState& s) { events.push_back(joined({event, " ", s.global_step})); }
};

std::vector<std::int64_t> steps_of(const TrainingState& state, const char* key) {
  std::vector<std::int64_t> steps;
  for (const Json& row : state.log_history.items())
    if (row.find(key) != nullptr) steps.push_back(row.find("step")->as_int());
  return steps;
}
using Steps = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("callbacks are called in the order of the documentation", "[training_run]") {
  const TempDir temp;
  RunDirectory directory(temp / "out");
  TrainingRunOptions options = run_options(5);
  options.logging_steps = 2, options.eval_steps = 4, options.save_steps = 4;
  Run<> s(options);
  s.run.save_into(directory, model_directory());
  Recorder recorder;
  struct OnlyLog {
    int rows = 0;
    void on_log(const TrainingState&, const Json&) { ++rows; }
  } only_log;
  s.run.train(recorder, only_log);
  CHECK(recorder.events == std::vector<std::string>{"begin 0", "step 1", "step 2", "log 2", "step 3", "step 4", "log 4",
                                                    "evaluate 4", "save 4", "step 5", "log 5", "evaluate 5", "save 5",
                                                    "end 5"});
  CHECK(only_log.rows == 3);
  CHECK(s.run.state().stop_reason == TrainingStop::finished);
}

TEST_CASE("without directory, evaluation rows and callbacks a run is Trainer::step in a loop", "[training_run]") {
  Run<> s({.max_steps = 6}), plain({.max_steps = 6});
  TrainingRun<Small<>> run(s.trainer, s.data, {.max_steps = 6});
  run.train();
  double loss = 0;
  std::int64_t tokens = 0;
  for (std::int64_t i = 0; i < 6; ++i) {
    const StepResult r = plain.trainer.step(plain.data.step(i), learning_rate_at(trainer_options().optimizer, i, 6));
    loss += r.loss * static_cast<double>(r.loss_tokens);
    tokens += r.loss_tokens;
  }
  CHECK(std::equal(s.trainer.parameters(), s.trainer.parameters() + trainable_parameters<Small<>>,
                   plain.trainer.parameters()));
  REQUIRE(run.state().log_history.items().size() == 1);
  CHECK(run.state().log_history.items()[0].find("loss")->as_double() == loss / static_cast<double>(tokens));
  CHECK(run.state().log_history.items()[0].find("step")->as_int() == 6);
}

TEST_CASE("epochs, intervals and the end decide when something is done", "[training_run]") {
  const TempDir temp;
  Run<> s({.num_train_epochs = 1.5, .logging_steps = 1000});
  const std::int64_t epoch = s.data.steps_per_epoch();
  REQUIRE(epoch > 15);
  const auto run_with = [&](TrainingRunOptions options) {
    RunDirectory directory(temp / "out");
    Run<> fresh(options);
    fresh.run.save_into(directory, model_directory());
    TrainingState state = fresh.run.train();
    const Steps saved = directory.steps();
    std::filesystem::remove_all(temp / "out");
    return std::pair(std::move(state), saved);
  };
  SECTION("epochs") {
    const auto [state, saved] = run_with({.num_train_epochs = 1.5,
                                          .logging_steps = 1000,
                                          .eval_strategy = IntervalStrategy::epoch,
                                          .save_strategy = IntervalStrategy::epoch});
    const std::int64_t end = (3 * epoch + 1) / 2;
    CHECK(state.max_steps == end);
    CHECK(steps_of(state, "eval_loss") == Steps{epoch, end});
    CHECK(steps_of(state, "loss") == Steps{end});
    CHECK(saved == Steps{epoch, end});
    CHECK(state.epoch == static_cast<double>(end) / static_cast<double>(epoch));
  }
  SECTION("steps") {
    const auto [state, saved] = run_with({.max_steps = 10,
                                          .logging_steps = 3,
                                          .eval_strategy = IntervalStrategy::steps,
                                          .eval_steps = 4,
                                          .save_strategy = IntervalStrategy::steps,
                                          .save_steps = 6});
    CHECK(steps_of(state, "loss") == Steps{3, 6, 9, 10});
    CHECK(steps_of(state, "eval_loss") == Steps{4, 8, 10});
    CHECK(saved == Steps{6, 10});
  }
  SECTION("on start") {
    const auto [state, saved] =
        run_with({.max_steps = 5, .eval_strategy = IntervalStrategy::steps, .eval_steps = 4, .eval_on_start = true});
    CHECK(steps_of(state, "eval_loss") == Steps{0, 4, 5});
  }
  SECTION("no") {
    const auto [state, saved] = run_with({.max_steps = 3, .save_strategy = IntervalStrategy::no});
    CHECK(steps_of(state, "eval_loss").empty());
    CHECK(saved.empty());
  }
}

TEST_CASE("the evaluation loss is that of the rows one by one, without dropout", "[training_run]") {
  Run<> s(run_options(10));
  const TrainingState& state = s.run.train();
  const double logged = state.log_history.items().back().find("eval_loss")->as_double();
  double sum = 0;
  std::int64_t tokens = 0;
  for (std::int64_t d = 0; d < s.valid.data().documents.size(); ++d) {
    const PackedRows alone{.rows = {{d}}, .over_long = {}, .max_seq_length = 32, .tokens = 0};
    const TokenBatch batch = make_batch(s.valid.data().documents, alone, 0, 1);
    sum += s.trainer.evaluate(batch) * static_cast<double>(batch.loss_tokens());
    tokens += batch.loss_tokens();
  }
  CHECK(std::abs(logged - sum / static_cast<double>(tokens)) < 1e-6);
  CHECK(logged == evaluate(s.trainer, s.valid));
  CHECK(state.best_metric.has_value());
}

TEST_CASE("a run stops early when the evaluation loss no longer falls, and the best model is the result",
          "[training_run]") {
  // Twelve documents learnt by heart at a high rate: the loss of others rises soon.
  const TempDir temp;
  RunDirectory directory(temp / "out");
  TrainerOptions hot = trainer_options();
  hot.optimizer = {.learning_rate = 0.05, .lr_scheduler = LrScheduler::constant};
  TrainingRunOptions options = run_options(200);
  options.eval_steps = 3, options.early_stopping_patience = 2, options.load_best_model_at_end = true;
  options.save_steps = 1000, options.save_total_limit = 2;
  Run<> s(options, 1, hot, best_isa(), rows(12, 7, true));
  s.run.save_into(directory, model_directory());
  const TrainingState& state = s.run.train();
  CHECK(state.stop_reason == TrainingStop::early_stopping);
  CHECK(state.global_step < 200);
  CHECK(s.run.finished());
  const Steps evaluations = steps_of(state, "eval_loss");
  double best = 1e9;
  std::int64_t best_step = 0;
  for (const Json& row : state.log_history.items())
    if (const Json* loss = row.find("eval_loss"); loss != nullptr && loss->as_double() < best)
      best = loss->as_double(), best_step = row.find("step")->as_int();
  CHECK(*state.best_metric == best);
  CHECK(state.best_global_step == best_step);
  CHECK(state.global_step == best_step + 2 * options.eval_steps);
  CHECK(state.best_model_checkpoint == directory.checkpoint_path(best_step));
  CHECK(directory.steps() == Steps{best_step, state.global_step});
  CHECK(evaluate(s.trainer, s.valid) == best);  // the trainer holds the best model now
  CHECK(evaluations.back() == state.global_step);
  CHECK(steps_of(state, "loss").back() == state.global_step);

  // Going on with a finished run changes nothing.
  Run<> again(options, 1, hot, best_isa(), rows(12, 7, true));
  again.run.save_into(directory, model_directory());
  CHECK(again.run.resume(directory.newest_verified()).empty());
  CHECK(again.run.finished());
  again.run.train();
  CHECK(evaluate(again.trainer, again.valid) == best);
}

TEST_CASE("a better loss within the threshold does not set patience back", "[training_run]") {
  TrainingRunOptions options = run_options(60);
  options.eval_steps = 1, options.early_stopping_patience = 3, options.early_stopping_threshold = 100;
  Run<> s(options);
  const TrainingState& state = s.run.train();
  CHECK(state.stop_reason == TrainingStop::early_stopping);
  CHECK(state.global_step == 4);  // the first evaluation counts as better than none
}

TEST_CASE("a run that is asked to stop saves its step and nothing else", "[training_run]") {
  const TempDir temp;
  RunDirectory directory(temp / "out");
  Run<> s(run_options(60));
  s.run.save_into(directory, model_directory());
  Recorder recorder;
  recorder.stop_at = 9;
  s.run.train(recorder);
  CHECK(s.run.state().stop_reason == TrainingStop::requested);
  CHECK(!s.run.finished());
  CHECK(recorder.events.back() == "end 9");
  CHECK(recorder.events[recorder.events.size() - 2] == "save 9");
  CHECK(directory.steps() == Steps{7, 9});
  CHECK(steps_of(s.run.state(), "loss") == Steps{4, 8});  // the row of step 12 is not cut in two
}

TEST_CASE("options that are out of range or have nothing to act on are refused", "[training_run]") {
  const auto refused = [](TrainingRunOptions options, const char* where, bool evaluation = true) {
    const Error error = error_of([&] { check_run_options(options, evaluation, true); });
    CHECK(error.error_code() == bad_run_option);
    CHECK(error.detail().where == std::string("/training/config/") + where);
  };
  refused({.num_train_epochs = 0}, "epochs");
  refused({.num_train_epochs = std::nan("")}, "epochs");
  refused({.logging_steps = 0}, "logging_steps");
  refused({.save_steps = -1}, "save_steps");
  refused({.save_total_limit = -1}, "save_total_limit");
  refused({.metric_for_best_model = "accuracy"}, "metric_for_best_model");
  refused({.greater_is_better = true}, "greater_is_better");
  refused({.load_best_model_at_end = true}, "load_best_model_at_end");
  refused({.early_stopping_patience = 2}, "early_stopping_patience");
  refused({.eval_strategy = IntervalStrategy::epoch, .early_stopping_patience = 2}, "early_stopping_patience", false);
  CHECK_NOTHROW(check_run_options(run_options(5), true, true));
}

}  // namespace training_run_test
