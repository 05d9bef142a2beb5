// Ctrl-C and SIGTERM -> a flag that the training loop looks at between steps and chat between tokens; the second one
// ends the program at once.
#pragma once
#include <unistd.h>

#include <csignal>

#include "cli/common.hpp"
#include "expert/io/training_state.hpp"

namespace cli {

class StopRequest {
 public:
  StopRequest() {
    requested_ = 0;
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, receive);
  }
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;
  ~StopRequest() {
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
  }
  bool requested() const { return requested_ != 0; }
  // A callback of TrainingRun: the step is finished and saved first.
  bool should_training_stop(const TrainingState&) const { return requested(); }
  ExitCode exit_code() const { return requested_ == SIGTERM ? terminated : interrupted; }

 private:
  static void receive(int signal) {
    if (requested_ != 0) _exit(signal == SIGTERM ? terminated : interrupted);
    requested_ = signal;
  }
  static inline volatile std::sig_atomic_t requested_ = 0;
};

}  // namespace cli
