// A running training -> one line for people on stderr, rewritten in place on a terminal, a line per row of the log
// elsewhere; and lines for evaluations and checkpoints.
#pragma once
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/common.hpp"
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

// Rows of metrics.jsonl have the names of transformers' log history; `loss` is the mean over the loss tokens since the
// row before. The file grows line by line, so that it can be watched.
class Progress {
 public:
  Progress(const std::filesystem::path& metrics, std::int64_t total_steps, std::int64_t steps_per_epoch, double fill)
      : file_(std::fopen(metrics.c_str(), "w")),
        total_steps_(total_steps),
        steps_per_epoch_(steps_per_epoch),
        fill_(fill),
        terminal_(isatty(STDERR_FILENO) != 0) {
    if (file_ == nullptr)
      throw Error(file_unwritable,
                  {.file = metrics.string(), .where = {}, .expected = {}, .got = std::strerror(errno), .fix = {}});
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { std::fclose(file_); }

  void add(const StepResult& r) {
    loss_ += r.loss * static_cast<double>(r.loss_tokens);
    loss_tokens_ += r.loss_tokens;
    tokens_ += r.tokens;
    all_tokens_ += r.tokens;
    last_ = r;
  }
  // Since the row before.
  void log() {
    const double now = seconds_since(begin_), rate = static_cast<double>(tokens_) / (now - logged_at_);
    const double mean_loss = loss_ / static_cast<double>(loss_tokens_);
    const double eta = now / static_cast<double>(last_.step) * static_cast<double>(total_steps_ - last_.step);
    char line[256];
    std::snprintf(line, sizeof line,
                  "step %lld/%lld  loss %.4f  lr %.2e  grad_norm %.2f  %.0f tokens/s  fill %.3f  eta %s",
                  static_cast<long long>(last_.step), static_cast<long long>(total_steps_), mean_loss,
                  last_.learning_rate, last_.grad_norm, rate, fill_, clock_text(eta).c_str());
    std::fprintf(stderr, terminal_ ? "\r\033[K%s" : "%s\n", line);
    Json row = Json::object();
    row.set("step", last_.step)
        .set("epoch", static_cast<double>(last_.step) / static_cast<double>(steps_per_epoch_))
        .set("loss", mean_loss)
        .set("grad_norm", last_.grad_norm)
        .set("learning_rate", last_.learning_rate)
        .set("num_tokens", all_tokens_)
        .set("tokens_per_second", rate)
        .set("seconds", now);
    std::fprintf(file_, "%s\n", row.dump().c_str());
    std::fflush(file_);
    mean_loss_ = mean_loss;
    loss_ = 0;
    loss_tokens_ = tokens_ = 0;
    logged_at_ = now;
  }
  void finish() const {
    if (terminal_) std::fputc('\n', stderr);
  }
  double seconds() const { return seconds_since(begin_); }
  double last_loss() const { return mean_loss_; }  // of the last row
  std::int64_t tokens() const { return all_tokens_; }
  bool has_unlogged() const { return loss_tokens_ > 0; }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

  std::FILE* file_;
  std::int64_t total_steps_, steps_per_epoch_;
  double fill_;
  bool terminal_;
  Clock::time_point begin_ = Clock::now();
  StepResult last_;
  double loss_ = 0, logged_at_ = 0, mean_loss_ = 0;
  std::int64_t loss_tokens_ = 0, tokens_ = 0, all_tokens_ = 0;
};

}  // namespace cli
