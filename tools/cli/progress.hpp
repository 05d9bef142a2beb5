// A running training -> one line for people on stderr, rewritten in place on a terminal, a line per row of the log
// elsewhere; and lines for evaluations and checkpoints.
#pragma once
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/io/html.hpp"
#include "expert/io/training_state.hpp"
#include "expert/trainer.hpp"

namespace cli {

using namespace expert;

inline std::string clock_text(double seconds) {
  const auto s = static_cast<long long>(seconds + 0.5);
  char text[32];
  if (s >= 3600) {
    std::snprintf(text, sizeof text, "%lldh%02lldm", s / 3600, s / 60 % 60);
  } else {
    std::snprintf(text, sizeof text, "%lldm%02llds", s / 60, s % 60);
  }
  return text;
}

// Bytes of this process in memory now; 0 where the system does not say.
inline double resident_bytes() {
  long long pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%*s %lld", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return static_cast<double>(pages) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

// Columns of the terminal behind `file`; 0 where it is none, or one that cannot go back to the start of a line.
inline int terminal_width(std::FILE* file) {
  const char* kind = std::getenv("TERM");
  winsize size{};
  if (::isatty(::fileno(file)) == 0 || kind == nullptr || std::string_view(kind) == "dumb") return 0;
  return ::ioctl(::fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// Pieces with two spaces between; the pieces that matter least go first where `width` columns do not hold all.
inline std::string fitted(std::vector<std::pair<std::string, int>> pieces, std::size_t width) {
  const auto line = [&] {
    std::string text;
    for (const auto& [piece, importance] : pieces) text.append(text.empty() ? "" : "  ").append(piece);
    return text;
  };
  std::string text = line();
  while (text.size() > width && pieces.size() > 1) {
    pieces.erase(std::min_element(pieces.begin(), pieces.end(),
                                  [](const auto& a, const auto& b) { return a.second < b.second; }));
    text = line();
  }
  if (text.size() > width) text.resize(width);
  return text;
}

// A callback of TrainingRun. `planned_bytes` is TrainingPlan's.
class ProgressLine {
 public:
  explicit ProgressLine(std::int64_t planned_bytes, std::FILE* to = stderr)
      : ProgressLine(planned_bytes, to, terminal_width(to)) {}
  ProgressLine(std::int64_t planned_bytes, std::FILE* to, int width)  // width 0: not a terminal
      : planned_bytes_(planned_bytes), to_(to), width_(width) {}

  void on_train_begin(const TrainingState& state) {
    begin_ = shown_ = Clock::now();
    first_step_ = state.global_step;
  }
  void on_step_end(const TrainingState& state, const StepResult& result) {
    const LogWindow& w = state.window;
    if (width_ == 0 || Clock::now() - shown_ < std::chrono::milliseconds(100)) return;
    show(state, w.loss_sum / static_cast<double>(std::max<std::int64_t>(1, w.loss_tokens)), result.learning_rate,
         static_cast<double>(w.tokens) / std::max(w.seconds, 1e-9));
  }
  void on_log(const TrainingState& state, const Json& row) {
    show(state, row.find("loss")->as_double(), row.find("learning_rate")->as_double(),
         row.find("tokens_per_second")->as_double());
  }
  void on_evaluate(const TrainingState& state, const Json& row) {
    char text[160];
    const bool best = state.best_metric && state.best_global_step == state.global_step;
    std::snprintf(text, sizeof text, "evaluation at step %lld: loss %.4f%s, %.1f s",
                  static_cast<long long>(state.global_step), row.find("eval_loss")->as_double(),
                  best ? " (best so far)" : "", row.find("eval_runtime")->as_double());
    say(text);
  }
  void on_save(const TrainingState&, const std::string& path) {
    std::string text = "saved ";
    say(text += path);
  }
  void on_train_end(const TrainingState&) {
    if (drawn_) std::fputc('\n', to_);
    std::fflush(to_);
    drawn_ = false;
  }

 private:
  using Clock = std::chrono::steady_clock;

  void show(const TrainingState& state, double loss, double learning_rate, double tokens_per_second) {
    char text[64];
    const auto print = [&](const char* format, auto... values) {
      std::snprintf(text, sizeof text, format, values...);
      return std::string(text);
    };
    shown_ = Clock::now();
    const double elapsed = std::chrono::duration<double>(shown_ - begin_).count();
    const auto done = static_cast<double>(std::max<std::int64_t>(1, state.global_step - first_step_));
    const double eta = elapsed / done * static_cast<double>(state.max_steps - state.global_step);
    std::string memory = "memory ";
    memory.append(bytes_text(resident_bytes())).append(" (plan ");
    memory.append(bytes_text(static_cast<double>(planned_bytes_))).append(")");
    const std::string line = fitted(
        {{print("step %lld/%lld", static_cast<long long>(state.global_step), static_cast<long long>(state.max_steps)),
          9},
         {print("loss %.4f", loss), 8},
         {print("lr %.2e", learning_rate), 3},
         {print("%.0f tokens/s", tokens_per_second), 5},
         {print("fill %.3f", state.packing_fill), 2},
         {memory, 1},
         {"eta " + clock_text(eta), 7}},
        width_ == 0 ? 1000 : static_cast<std::size_t>(width_ - 1));
    std::fprintf(to_, width_ == 0 ? "%s\n" : "\r\033[K%s", line.c_str());
    std::fflush(to_);
    drawn_ = width_ != 0;
  }
  // A line that stays.
  void say(const std::string& line) {
    std::fprintf(to_, "%s%s\n", drawn_ ? "\r\033[K" : "", line.c_str());
    std::fflush(to_);
    drawn_ = false;
  }

  std::int64_t planned_bytes_, first_step_ = 0;
  std::FILE* to_;
  int width_;
  bool drawn_ = false;
  Clock::time_point begin_, shown_;
};

}  // namespace cli
