// SIGKILL at random moments, then a resume: the end is that of the run that was never stopped. EXPERT_KILLS sets how
// many (200).
#include <signal.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "catch.hpp"
#include "child.hpp"
#include "expert/core/random.hpp"
#include "expert/io/run_directory.hpp"
#include "expert/json/json.hpp"
#include "temp_dir.hpp"

namespace {

constexpr const char* max_steps = "60";

double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The rows of metrics.jsonl without timings.
std::string rows_of(const std::string& metrics) {
  std::ifstream file(metrics);
  std::string text;
  for (std::string line; std::getline(file, line);) {
    const expert::Json row = expert::parse_json(line, metrics, 1 << 20);
    for (const auto& [key, value] : row.members())
      if (key != "tokens_per_second" && key != "seconds" && key != "eval_runtime")
        text.append(key).append(" ").append(value.dump()).append(" ");
    text += '\n';
  }
  return text;
}

}  // namespace

TEST_CASE("a run that is killed at any moment and resumed ends with the same bits", "[kill]") {
  const TempDir temp;
  const std::string whole = temp / "whole";
  const double begin = now();
  const Ending expected = run_to_the_end(whole, temp / "whole.txt", max_steps);
  double duration = now() - begin;
  REQUIRE(expected.from == "from 0");
  REQUIRE(expected.fingerprint.find("eval_loss") != std::string::npos);
  const std::string expected_rows = rows_of(whole + "/metrics.jsonl");

  const char* wanted = std::getenv("EXPERT_KILLS");
  const int kills = wanted == nullptr ? 200 : std::atoi(wanted);
  const expert::RandomStream random(static_cast<std::uint64_t>(::time(nullptr)), expert::Purpose::shuffle);
  int killed = 0, equal = 0, went_on = 0, too_late = 0;
  for (std::uint64_t attempt = 0; killed < kills; ++attempt) {
    const std::string out = temp / ("run" + std::to_string(attempt));
    const pid_t pid = start_child(out, temp / "killed.txt", max_steps);
    const double delay = duration * static_cast<double>(random.uniform(attempt));
    const timespec pause{static_cast<time_t>(delay),
                         static_cast<long>((delay - static_cast<double>(static_cast<time_t>(delay))) * 1e9)};
    nanosleep(&pause, nullptr);
    ::kill(pid, SIGKILL);
    if (!WIFSIGNALED(wait_for(pid))) {  // it had ended before
      duration *= 0.95;
      REQUIRE(++too_late < 10 * kills + 100);
      continue;
    }
    ++killed;
    const Ending ending = run_to_the_end(out, temp / "resumed.txt", max_steps);
    INFO("kill " << killed << " after " << delay << " s of " << duration << " s, resumed " << ending.from);
    CHECK(ending.fingerprint == expected.fingerprint);
    CHECK(rows_of(out + "/metrics.jsonl") == expected_rows);
    equal += ending.fingerprint == expected.fingerprint;
    went_on += ending.from != "from 0";
    for (const std::string& name : expert::names_in(out)) CHECK(!name.starts_with('.'));
    std::filesystem::remove_all(out);
  }
  std::printf(
      "%d kills, %d of %d resumed runs equal, %d of them resumed from a checkpoint, %.1f s, a whole run %.2f s\n",
      killed, equal, killed, went_on, now() - begin, duration);
  CHECK(equal == killed);
  CHECK(went_on > 0);
}
