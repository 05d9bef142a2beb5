// The loop: a trainer, training data, options and callbacks -> a trained adapter (or base), a log, checkpoints.
#pragma once
#include <cstdint>
#include <string>

#include "expert/io/training_state.hpp"
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
//                                                                    // run after saving, with StopReason::requested
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

}  // namespace v0
}  // namespace expert
