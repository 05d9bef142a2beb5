// The loss of a running training -> a line for people (stderr) and a row for programs (metrics.jsonl).
#pragma once
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>

#include "cli/common.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/json/json.hpp"
#include "expert/trainer.hpp"

namespace cli {

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
