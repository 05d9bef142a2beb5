// OUT MAX_STEPS -> a training in OUT that goes on from the newest whole checkpoint; at the end its fingerprint on
// stdout. kill_test ends it at random moments.
#include <cstdio>
#include <cstdlib>

#include "small_run.hpp"

int main(int argc, char** argv) {
  using namespace expert;
  if (argc != 3) return 2;
  try {
    RunDirectory directory(argv[1]);
    small_run::Run<> s(small_run::run_options(std::atoi(argv[2])));
    s.run.save_into(directory, small_run::model_directory());
    try {
      s.run.resume(directory.newest_verified());
    } catch (const Error& e) {
      if (e.error_code() != no_checkpoint) throw;
    }
    const std::int64_t first = s.run.state().global_step;
    JsonlLog metrics(directory.path() + "/metrics.jsonl");
    const TrainingState& state = s.run.train(metrics);
    std::printf("from %lld\n%s", static_cast<long long>(first),
                small_run::fingerprint(s.trainer, s.data, state).c_str());
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
