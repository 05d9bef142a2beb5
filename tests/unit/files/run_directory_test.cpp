// Output directories: the lock, leftovers, damaged checkpoints, what is kept, a disk that is full.
#include "expert/io/run_directory.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "catch.hpp"
#include "error_of.hpp"
#include "temp_dir.hpp"

namespace run_directory_test {
using namespace expert;
namespace fs = std::filesystem;

namespace {

std::string publish(RunDirectory& directory, std::int64_t step, std::size_t bytes = 300) {
  RunDirectory::NewCheckpoint checkpoint = directory.begin(step);
  write_file(checkpoint.path() + "/weights.bin", std::string(bytes, 'w'));
  write_file(checkpoint.path() + "/state.json", "{\"step\": " + std::to_string(step) + "}");
  return directory.publish(checkpoint, Json::object().set("seed", 42));
}

std::string read(const std::string& path) { return read_file(path, 1 << 20); }
void overwrite(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

TEST_CASE("a published checkpoint is found again with what was recorded", "[run_directory]") {
  const TempDir temp;
  const std::string out = temp / "a/b/out";
  {
    RunDirectory directory(out + "/");
    CHECK(directory.path() == out);
    CHECK(publish(directory, 7) == out + "/checkpoint-7");
    publish(directory, 14);
  }
  RunDirectory directory(out);
  CHECK(directory.steps() == std::vector<std::int64_t>{7, 14});
  const SavedCheckpoint found = directory.newest_verified();
  CHECK(found.path == out + "/checkpoint-14");
  CHECK(found.global_step == 14);
  CHECK(found.run.dump() == "{\"seed\":42}");
  CHECK(directory.notices().empty());
  CHECK(error_of([&] { directory.require_no_checkpoints(); }).error_code() == checkpoints_exist);
}

TEST_CASE("every flipped byte and every cut of every file is refused, and the one before is used", "[run_directory]") {
  const TempDir temp;
  const std::string out = temp / "out";
  RunDirectory directory(out);
  publish(directory, 7);
  const std::string newest = publish(directory, 14, 200);
  std::int64_t tried = 0;
  const auto must_be_refused = [&](const std::string& file, const std::string& bytes) {
    overwrite(file, bytes);
    ++tried;
    bool refused = false;
    try {
      verify_checkpoint(newest);
    } catch (const Error&) {
      refused = true;
    }
    if (!refused) FAIL_CHECK("accepted " << file << " with " << bytes.size() << " bytes");
  };
  for (const std::string& name : names_in(newest)) {
    const std::string file = newest + "/" + name, whole = read(file);
    for (std::size_t i = 0; i < whole.size(); ++i)
      for (const int flip : {1, 0x20, 0x80}) {
        std::string bytes = whole;
        bytes[i] = static_cast<char>(bytes[i] ^ flip);
        must_be_refused(file, bytes);
      }
    for (std::size_t n = 0; n < whole.size(); ++n) must_be_refused(file, whole.substr(0, n));
    must_be_refused(file, whole + "\n");
    fs::remove(file);
    CHECK_THROWS_AS(verify_checkpoint(newest), Error);
    overwrite(file, whole);
    CHECK(verify_checkpoint(newest).global_step == 14);
  }
  CHECK(tried > 2500);

  overwrite(newest + "/weights.bin", std::string(200, 'x'));
  CHECK(error_of([&] { verify_checkpoint(newest); }).error_code() == checkpoint_damaged);
  CHECK(directory.newest_verified().path == out + "/checkpoint-7");
  REQUIRE(directory.notices().size() == 1);
  CHECK(contains(directory.notices()[0], "checkpoint-14 is damaged and not used"));
  CHECK(contains(directory.notices()[0], "weights.bin"));
  overwrite(out + "/checkpoint-7/state.json", "{}");
  const Error none = error_of([&] { directory.newest_verified(); });
  CHECK(none.error_code() == no_checkpoint);
  CHECK(contains(none.what(), "2 damaged"));
}

TEST_CASE("a record that names files elsewhere, or stands in another directory, is refused", "[run_directory]") {
  const TempDir temp;
  RunDirectory directory(temp / "out");
  const std::string path = publish(directory, 7);
  fs::rename(path, directory.path() + "/checkpoint-8");
  CHECK(error_of([&] { verify_checkpoint(directory.path() + "/checkpoint-8"); }).error_code() == checkpoint_damaged);
  fs::rename(directory.path() + "/checkpoint-8", path);
  for (const char* name : {"../checkpoint-7/state.json", "..", "a/b", ""}) {
    const Json record = Json::object()
                            .set("global_step", 7)
                            .set("files", Json::object().set(name, Json::object().set("bytes", 0).set("sha256", "")))
                            .set("run", Json::object());
    overwrite(path + "/checkpoint.json", detail::record_text(record));
    CHECK(error_of([&] { verify_checkpoint(path); }).error_code() == checkpoint_damaged);
  }
}

TEST_CASE("a second process is refused with the number of the first, a dead one's lock is taken over",
          "[run_directory]") {
  const TempDir temp;
  const std::string out = temp / "out";
  {
    RunDirectory first(out);
    const Error error = error_of([&] { RunDirectory second(out); });
    CHECK(error.error_code() == run_directory_locked);
    CHECK(contains(error.what(), "process " + std::to_string(::getpid())));
  }
  CHECK(!fs::exists(out + "/train.lock"));
  const pid_t child = fork();
  if (child == 0) {
    new RunDirectory(out);  // ends without its destructor, as a kill does
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(fs::exists(out + "/train.lock"));
  RunDirectory next(out);
  REQUIRE(next.notices().size() == 1);
  CHECK(contains(next.notices()[0], "stale lock of process " + std::to_string(child)));
}

TEST_CASE("what a killed run left half written is removed, files of others are not", "[run_directory]") {
  const TempDir temp;
  const std::string out = temp / "out";
  fs::create_directories(out + "/.checkpoint-7.123.tmp/deeper");
  fs::create_directories(out + "/.checkpoint-3.123.old");
  overwrite(out + "/.checkpoint-7.123.tmp/deeper/file", "half");
  overwrite(out + "/.checkpoint-3.123.old/file", "gone");
  overwrite(out + "/.metrics.csv.123.0.tmp", "half");
  overwrite(out + "/.notes.tmp", "a user's");
  overwrite(temp / "outside", "kept");
  fs::create_symlink(temp / "outside", out + "/.checkpoint-3.123.old/link");
  RunDirectory directory(out);
  CHECK(names_in(out) == std::vector<std::string>{".notes.tmp", "train.lock"});
  CHECK(directory.notices().size() == 3);
  CHECK(fs::exists(temp / "outside"));
}

TEST_CASE("the newest and the best are kept, never fewer than two", "[run_directory]") {
  const TempDir temp;
  const auto kept = [&](std::int64_t limit, std::int64_t best) {
    fs::remove_all(temp / "out");
    RunDirectory directory(temp / "out");
    for (const std::int64_t step : {10, 20, 30, 40, 50}) {
      publish(directory, step);
      directory.remove_old(limit, best <= step ? best : -1);
    }
    return directory.steps();
  };
  using Steps = std::vector<std::int64_t>;
  CHECK(kept(0, -1) == Steps{10, 20, 30, 40, 50});
  CHECK(kept(1, -1) == Steps{40, 50});
  CHECK(kept(2, -1) == Steps{40, 50});
  CHECK(kept(2, 20) == Steps{20, 50});
  CHECK(kept(3, 20) == Steps{20, 40, 50});
  CHECK(kept(4, 50) == Steps{20, 30, 40, 50});

  // After a resume from 30: the damaged 40 stays until its step comes again, and is not taken for a newer one.
  fs::remove_all(temp / "out");
  {
    RunDirectory directory(temp / "out");
    for (const std::int64_t step : {10, 20, 30, 40}) publish(directory, step);
    overwrite(directory.path() + "/checkpoint-40/state.json", "?");
  }
  RunDirectory directory(temp / "out");
  CHECK(directory.newest_verified().global_step == 30);
  publish(directory, 35);
  directory.remove_old(2, -1);
  CHECK(directory.steps() == Steps{30, 35, 40});
  publish(directory, 40);
  directory.remove_old(2, -1);
  CHECK(directory.steps() == Steps{35, 40});
  CHECK(verify_checkpoint(directory.checkpoint_path(40)).global_step == 40);
}

TEST_CASE("a checkpoint that cannot be written names path and reason and leaves nothing", "[run_directory]") {
  const TempDir temp;
  RunDirectory directory(temp / "out");
  publish(directory, 7);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit small = before;
  small.rlim_cur = 4096;
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const Error error = error_of([&] { publish(directory, 14, 100000); });
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  ::signal(SIGXFSZ, old_handler);
  CHECK(error.error_code() == file_unwritable);
  CHECK(contains(error.what(), "weights.bin"));
  CHECK(contains(error.what(), "File too large"));
  CHECK(names_in(directory.path()) == std::vector<std::string>{"checkpoint-7", "train.lock"});
  CHECK(directory.newest_verified().global_step == 7);
  CHECK(publish(directory, 14) == directory.checkpoint_path(14));
}

TEST_CASE("a directory that cannot be made or is a file is refused", "[run_directory]") {
  const TempDir temp;
  overwrite(temp / "file", "x");
  CHECK(error_of([&] { RunDirectory directory(temp / "file"); }).error_code() == file_unwritable);
  CHECK(error_of([&] { RunDirectory directory(temp / "file/out"); }).error_code() == file_unwritable);
  CHECK(contains(error_of([&] { RunDirectory directory("/proc/no/out"); }).what(), "/proc/no"));
}

}  // namespace run_directory_test
