// What a run has done so far <-> trainer_state.json, with the keys of transformers' TrainerState.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "expert/core/error.hpp"
#include "expert/json/fields.hpp"
#include "expert/json/json.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode bad_training_state{276, "trainer_state.json is not the state of a run of this library"};

enum class TrainingStop : std::uint8_t { running, finished, early_stopping, requested };
inline constexpr std::string_view stop_reason_names[] = {"running", "finished", "early_stopping", "requested"};
constexpr std::string_view name_of(TrainingStop reason) { return stop_reason_names[static_cast<std::size_t>(reason)]; }

// Sums since the last row of the log: a run that goes on from a checkpoint logs the means that it would have logged.
struct LogWindow {
  double loss_sum = 0;  // over loss tokens
  std::int64_t loss_tokens = 0, tokens = 0;
  double seconds = 0;
};

// Members that transformers has bear its names. log_history holds one object per row:
//   {"loss", "grad_norm", "learning_rate", "epoch", "step", "num_tokens", "tokens_per_second", "seconds"} or
//   {"eval_loss", "epoch", "step", "eval_runtime"}
// Of these, tokens_per_second, seconds and eval_runtime are timings; the others are equal in every run.
struct TrainingState {
  std::int64_t global_step = 0, max_steps = 0;
  double epoch = 0, num_train_epochs = 0;  // num_train_epochs: what max_steps amounts to
  std::int64_t steps_per_epoch = 0;
  std::int64_t train_batch_size = 0;  // rows of a micro-batch
  std::int64_t logging_steps = 0, eval_steps = 0, save_steps = 0;
  std::int64_t num_input_tokens_seen = 0;
  double packing_fill = 0;  // share of the token places of a batch that hold a token
  std::optional<double> best_metric;
  std::int64_t best_global_step = 0;
  std::string best_model_checkpoint;  // its path; empty: none is saved
  Json log_history = Json::array();
  LogWindow window;
  double seconds = 0;  // of training, evaluation and saving, those before a resume included
  std::int64_t early_stopping_patience_counter = 0;
  TrainingStop stop_reason = TrainingStop::running;
};

inline Json to_json(const TrainingState& s) {
  const auto text_or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  Json own = Json::object();  // transformers refuses unknown keys but keeps what callbacks have stored
  own.set("steps_per_epoch", s.steps_per_epoch)
      .set("packing_fill", s.packing_fill)
      .set("window", Json::object()
                         .set("loss_sum", s.window.loss_sum)
                         .set("loss_tokens", s.window.loss_tokens)
                         .set("tokens", s.window.tokens)
                         .set("seconds", s.window.seconds))
      .set("seconds", s.seconds)
      .set("stop_reason", name_of(s.stop_reason));
  const Json stopping =
      Json::object()
          .set("args", Json::object())
          .set("attributes", Json::object().set("early_stopping_patience_counter", s.early_stopping_patience_counter));
  return Json::object()
      .set("best_global_step", s.best_metric ? Json(s.best_global_step) : Json())
      .set("best_metric", s.best_metric ? Json(*s.best_metric) : Json())
      .set("best_model_checkpoint", text_or_null(s.best_model_checkpoint))
      .set("epoch", s.epoch)
      .set("eval_steps", s.eval_steps)
      .set("global_step", s.global_step)
      .set("is_hyper_param_search", false)
      .set("is_local_process_zero", true)
      .set("is_world_process_zero", true)
      .set("log_history", s.log_history)
      .set("logging_steps", s.logging_steps)
      .set("max_steps", s.max_steps)
      .set("num_input_tokens_seen", s.num_input_tokens_seen)
      .set("num_train_epochs", s.num_train_epochs)
      .set("save_steps", s.save_steps)
      .set("stateful_callbacks",
           Json::object().set("EarlyStoppingCallback", stopping).set("ExpertTrainingRun", std::move(own)))
      .set("total_flos", 0)
      .set("train_batch_size", s.train_batch_size)
      .set("trial_name", Json())
      .set("trial_params", Json());
}

// Throws E276 where a key is missing, of the wrong kind or out of range.
inline TrainingState training_state_from(const Json& json, const std::string& file) {
  constexpr FieldCodes codes{bad_training_state, bad_training_state, bad_training_state};
  constexpr std::int64_t most = std::int64_t{1} << 53;
  const Fields f(json, file, "", codes);
  const Fields callbacks(f.require("stateful_callbacks"), file, "/stateful_callbacks", codes);
  const Fields own(callbacks.require("ExpertTrainingRun"), file, "/stateful_callbacks/ExpertTrainingRun", codes);
  const Fields window(own.require("window"), file, "/stateful_callbacks/ExpertTrainingRun/window", codes);
  const auto count = [&](const Fields& from, std::string_view key) { return from.integer(key, 0, most); };
  const auto number = [&](const Fields& from, std::string_view key) {
    return from.number(key, "a number >= 0", [](double x) { return x >= 0; });
  };
  TrainingState s;
  s.global_step = count(f, "global_step"), s.max_steps = count(f, "max_steps");
  s.epoch = number(f, "epoch"), s.num_train_epochs = number(f, "num_train_epochs");
  s.train_batch_size = count(f, "train_batch_size");
  s.logging_steps = count(f, "logging_steps"), s.eval_steps = count(f, "eval_steps");
  s.save_steps = count(f, "save_steps");
  s.num_input_tokens_seen = count(f, "num_input_tokens_seen");
  if (f.find("best_metric") != nullptr) {
    s.best_metric = f.number("best_metric", "a number", [](double) { return true; });
    s.best_global_step = count(f, "best_global_step");
  }
  if (f.find("best_model_checkpoint") != nullptr) s.best_model_checkpoint = f.text("best_model_checkpoint");
  s.log_history = f.require("log_history");
  const bool rows = s.log_history.is_array() && std::all_of(s.log_history.items().begin(), s.log_history.items().end(),
                                                            [](const Json& row) { return row.is_object(); });
  if (!rows) f.fail(bad_training_state, "log_history", "a list of objects", s.log_history.described());
  s.steps_per_epoch = count(own, "steps_per_epoch"), s.packing_fill = number(own, "packing_fill");
  s.window.loss_sum = number(window, "loss_sum");
  s.window.loss_tokens = count(window, "loss_tokens"), s.window.tokens = count(window, "tokens");
  s.window.seconds = number(window, "seconds");
  s.seconds = number(own, "seconds");
  const Fields stopping(callbacks.require("EarlyStoppingCallback"), file, "/stateful_callbacks/EarlyStoppingCallback",
                        codes);
  const Fields attributes(stopping.require("attributes"), file, "/stateful_callbacks/EarlyStoppingCallback/attributes",
                          codes);
  s.early_stopping_patience_counter = count(attributes, "early_stopping_patience_counter");
  const std::string& reason = own.text("stop_reason");
  const auto known = std::find(std::begin(stop_reason_names), std::end(stop_reason_names), reason);
  if (known == std::end(stop_reason_names))
    own.fail(bad_training_state, "stop_reason", "a reason that this library knows", expert::quoted(reason));
  s.stop_reason = static_cast<TrainingStop>(known - std::begin(stop_reason_names));
  return s;
}

}  // namespace v0
}  // namespace expert
