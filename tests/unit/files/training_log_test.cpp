// include/expert/io/training_log.hpp: what a watcher finds in the files of a run, also after a resume.
#include "expert/io/training_log.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "expert/json/json.hpp"

namespace training_log_test {
using namespace expert;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("expert_training_log_test." + std::to_string(::getpid()));
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
};

Json train_row(std::int64_t step, double loss) {
  return Json::object().set("loss", loss).set("learning_rate", 0.5).set("epoch", 0.25).set("step", step);
}

// Logs as training_run.hpp does: the row is appended to the history, then the callbacks see it.
template <class... Logs>
void log(TrainingState& state, const Json& row, Logs&... logs) {
  state.global_step = row.find("step")->as_int();
  state.log_history.push(row);
  (logs.on_log(state, row), ...);
}

std::string events_in(const fs::path& folder) {
  std::string bytes;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename().string().find("tfevents") != std::string::npos)
      bytes += read_file(entry.path(), 1 << 20);
  return bytes;
}

}  // namespace

TEST_CASE("metrics.jsonl holds each row as soon as it is logged", "[training_log]") {
  const Folder folder;
  TrainingState state;
  JsonlLog log_file(folder.path / "metrics.jsonl");
  log_file.on_train_begin(state);
  log(state, train_row(10, 2.5), log_file);
  CHECK(read_file(folder.path / "metrics.jsonl", 1 << 20) ==
        "{\"loss\":2.5,\"learning_rate\":0.5,\"epoch\":0.25,\"step\":10}\n");
  log_file.on_evaluate(state, Json::object().set("eval_loss", 2.0).set("step", 10));
  CHECK(read_file(folder.path / "metrics.jsonl", 1 << 20).ends_with("{\"eval_loss\":2.0,\"step\":10}\n"));
}

TEST_CASE("a resumed run drops the rows after its checkpoint", "[training_log]") {
  const Folder folder;
  const fs::path file = folder.path / "metrics.jsonl";
  TrainingState state;
  JsonlLog first(file);
  first.on_train_begin(state);
  for (const std::int64_t step : {10, 20, 30}) log(state, train_row(step, 1.0), first);
  TrainingState resumed;  // from checkpoint-20
  for (const std::int64_t step : {10, 20}) resumed.log_history.push(train_row(step, 1.0));
  resumed.global_step = 20;
  JsonlLog second(file);
  second.on_train_begin(resumed);
  log(resumed, train_row(30, 0.5), second);
  std::vector<std::int64_t> steps;
  const std::string text = read_file(file, 1 << 20);
  for (std::size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1)
    steps.push_back(parse_json(text.substr(begin, text.find('\n', begin) - begin), "row", 1000).find("step")->as_int());
  CHECK(steps == std::vector<std::int64_t>{10, 20, 30});
  CHECK(text.find("\"loss\":0.5") != std::string::npos);
}

TEST_CASE("a log that cannot be opened is refused with its name", "[training_log]") {
  JsonlLog log_file("/nonexistent/metrics.jsonl");
  try {
    log_file.on_train_begin({});
    FAIL("was opened");
  } catch (const Error& e) {
    CHECK(e.error_code() == file_unwritable);
    CHECK(e.detail().file == "/nonexistent/metrics.jsonl");
  }
}

TEST_CASE("CSV has a column per key, empty cells, and quotes where RFC 4180 asks for them", "[training_log]") {
  CHECK(csv_of({}).empty());
  const Json::Array rows{train_row(1, 2.5), Json::object().set("eval_loss", 2.0).set("step", 1),
                         Json::object().set("note", "a \"b\", c").set("step", nullptr)};
  CHECK(csv_of(rows) ==
        "loss,learning_rate,epoch,step,eval_loss,note\r\n2.5,0.5,0.25,1,,\r\n,,,1,2.0,\r\n,,,,,\"a \"\"b\"\", c\"\r\n");
}

TEST_CASE("metrics.csv is written at each save and at the end", "[training_log]") {
  const Folder folder;
  TrainingState state;
  const CsvLog csv(folder.path / "metrics.csv");
  state.log_history.push(train_row(1, 2.0));
  csv.on_save(state, "checkpoint-1");
  const std::string saved = read_file(folder.path / "metrics.csv", 1 << 20);
  CHECK(saved == csv_of(state.log_history.items()));
  state.log_history.push(train_row(2, 1.0));
  csv.on_train_end(state);
  CHECK(read_file(folder.path / "metrics.csv", 1 << 20).size() > saved.size());
}

TEST_CASE("TensorBoard's tags are those of transformers", "[training_log]") {
  CHECK(tensorboard_tag("loss") == "train/loss");
  CHECK(tensorboard_tag("eval_loss") == "eval/loss");
  CHECK(tensorboard_tag("tokens_per_second") == "train/tokens_per_second");
}

TEST_CASE("the event file begins with its version, and a resumed run's drops later steps of the older file",
          "[training_log]") {
  const Folder folder;
  TrainingState state;
  state.global_step = 20;
  TensorBoardLog tensorboard(folder.path);
  tensorboard.on_train_begin(state);
  const std::string head = events_in(folder.path);
  CHECK(head.substr(0, 8) == std::string("\x18\0\0\0\0\0\0\0", 8));  // 24 bytes of Event
  CHECK(head.find("brain.Event:2") != std::string::npos);
  CHECK(head.find(std::string("\x10\x15\x3a\x02\x08\x01", 6)) != std::string::npos);  // step 21, session_log START
  log(state, train_row(30, 0.5), tensorboard);
  const std::string all = events_in(folder.path);
  for (const char* tag : {"train/loss", "train/learning_rate", "train/epoch"})
    CHECK(all.find(tag) != std::string::npos);
  CHECK(all.find("train/step") == std::string::npos);
}

}  // namespace training_log_test
