// tools/cli/progress.hpp: what a terminal and a file are shown of a run.
#include "cli/progress.hpp"

#include <cstdio>
#include <string>

#include "catch.hpp"

namespace progress_test {
using namespace expert;

namespace {

// All that a run of four steps writes, seen through a window of `width` columns; 0: a file.
std::string shown(int width) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  cli::ProgressLine line(std::int64_t{512} << 20, file, width);
  TrainingState state;
  state.max_steps = 400;
  state.packing_fill = 0.973;
  line.on_train_begin(state);
  for (state.global_step = 1; state.global_step <= 4; ++state.global_step) {
    line.on_step_end(state, {});
    line.on_log(state, Json::object().set("loss", 0.5).set("learning_rate", 1e-3).set("tokens_per_second", 14000.0));
    if (state.global_step == 2) {
      state.best_metric = 0.25;
      state.best_global_step = 2;
      line.on_evaluate(state, Json::object().set("eval_loss", 0.25).set("eval_runtime", 1.5));
      line.on_save(state, "out/checkpoint-2");
    }
  }
  line.on_train_end(state);
  std::string text(static_cast<std::size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  REQUIRE(std::fread(text.data(), 1, text.size(), file) == text.size());
  std::fclose(file);
  return text;
}

}  // namespace

TEST_CASE("outside a terminal every row of the log is a plain line", "[progress]") {
  const std::string text = shown(0);
  CHECK(std::count(text.begin(), text.end(), '\n') == 6);
  CHECK(text.find('\r') == text.npos);
  CHECK(text.find('\033') == text.npos);
  CHECK(text.starts_with("step 1/400  loss 0.5000  lr 1.00e-03  14000 tokens/s  fill 0.973  memory "));
  CHECK(text.find(" (plan 512 MiB)  eta ") != text.npos);
  CHECK(text.find("\nevaluation at step 2: loss 0.2500 (best so far), 1.5 s\nsaved out/checkpoint-2\nstep 3/400") !=
        text.npos);
}

TEST_CASE("on a terminal one line is rewritten, never wider than the window; what stays has a line of its own",
          "[progress]") {
  for (const int width : {10, 40, 60, 80, 120, 300}) {
    const std::string text = shown(width);
    CHECK(std::count(text.begin(), text.end(), '\n') == 3);
    for (std::size_t at = text.find("\033[Kstep"); at != text.npos; at = text.find("\033[Kstep", at + 1)) {
      const std::size_t begin = at + 3, end = text.find_first_of("\r\n", begin);
      REQUIRE(end != text.npos);
      CHECK(end - begin < static_cast<std::size_t>(width));
    }
    CHECK(text.find("\r\033[Kevaluation at step 2") != text.npos);
    CHECK(text.ends_with('\n'));
  }
}

TEST_CASE("a narrow window loses memory first and the step last", "[progress]") {
  CHECK(cli::fitted({{"step 1/2", 9}, {"loss 0.5", 8}, {"memory 1 MiB", 1}}, 100) ==
        "step 1/2  loss 0.5  memory 1 MiB");
  CHECK(cli::fitted({{"step 1/2", 9}, {"loss 0.5", 8}, {"memory 1 MiB", 1}}, 31) == "step 1/2  loss 0.5");
  CHECK(cli::fitted({{"step 1/2", 9}, {"loss 0.5", 8}, {"memory 1 MiB", 1}}, 10) == "step 1/2");
  CHECK(cli::fitted({{"step 1/2", 9}, {"loss 0.5", 8}}, 4) == "step");
}

TEST_CASE("this process knows how much memory it takes", "[progress]") {
  CHECK(cli::resident_bytes() > 1e5);
  CHECK(cli::resident_bytes() < 1e12);
}

}  // namespace progress_test
