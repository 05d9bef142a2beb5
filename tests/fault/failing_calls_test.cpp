// Every single call that changes a file fails once: the error names path and reason, a resume ends with the same bits,
// nothing half written stays.
#include <errno.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "child.hpp"
#include "expert/io/files.hpp"
#include "temp_dir.hpp"

namespace {

constexpr const char* max_steps = "8";  // checkpoints at 7 and 8

// Which calls are there in a run, and what each of them does when it fails with `error` (0: a short write).
void fail_each(int error, const char* reason) {
  const TempDir temp;
  const auto settings = [&](int call) {
    return std::vector<std::string>{"LD_PRELOAD=" EXPERT_FAILING_CALLS, "EXPERT_FAIL_AT=" + std::to_string(call),
                                    "EXPERT_FAIL_ERRNO=" + std::to_string(error)};
  };
  const std::string output = temp / "output.txt";
  const Ending expected = run_to_the_end(temp / "whole", output, max_steps);
  REQUIRE(wait_for(start_child(temp / "counted", output, max_steps, settings(0))) == 0);
  int calls = 0;
  REQUIRE(std::sscanf(text_of(output + ".err").c_str(), "calls %d", &calls) == 1);
  REQUIRE(calls > 40);
  int failed = 0;
  for (int call = 1; call <= calls; ++call) {
    const std::string out = temp / ("run" + std::to_string(call));
    const int status = wait_for(start_child(out, output, max_steps, settings(call)));
    REQUIRE(WIFEXITED(status));
    const std::string said = text_of(output + ".err");
    INFO("call " << call << " of " << calls << ": " << said);
    if (WEXITSTATUS(status) != 0) {
      ++failed;
      CHECK(said.find("EXPERT-E203") != std::string::npos);
      CHECK(said.find(reason) != std::string::npos);
      CHECK(said.find(out) != std::string::npos);
    }
    CHECK(run_to_the_end(out, output, max_steps).fingerprint == expected.fingerprint);
    for (const std::string& name : expert::names_in(out)) CHECK(!name.starts_with('.'));
    std::filesystem::remove_all(out);
  }
  std::printf("%s: %d calls, %d of them ended the run, every resume had the same end\n", reason, calls, failed);
  CHECK((error == 0 ? failed == 0 : failed > calls / 2));
}

}  // namespace

TEST_CASE("a disk that is full at any call costs no checkpoint", "[failing_calls]") {
  fail_each(ENOSPC, "No space left on device");
}
TEST_CASE("a disk that fails at any call costs no checkpoint", "[failing_calls]") {
  fail_each(EIO, "Input/output error");
}
TEST_CASE("a short write at any call is written on", "[failing_calls]") { fail_each(0, "short write"); }
