// Resuming: the same bits in the middle of an epoch, refusals that name what differs, damage, other machines.
#include "expert/checkpoint.hpp"

#include <filesystem>
#include <fstream>

#include "catch.hpp"
#include "error_of.hpp"
#include "small_run.hpp"
#include "temp_dir.hpp"

namespace checkpoint_test {
using namespace expert;
using namespace small_run;

namespace {

struct StopAt {
  std::int64_t step;
  bool should_training_stop(const TrainingState& state) const { return state.global_step == step; }
};

// Trains up to `step` in the directory and leaves a checkpoint there.
template <class E = Small<>>
void train_up_to(const std::string& out, std::int64_t step, const TrainingRunOptions& options = run_options(30)) {
  RunDirectory directory(out);
  Run<E> s(options);
  s.run.save_into(directory, model_directory());
  s.run.train(StopAt{step});
}

void overwrite(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

TEMPLATE_TEST_CASE("a run that goes on from any step has the bits of one that was not stopped", "[checkpoint]", Small<>,
                   SmallBase) {
  const TempDir temp;
  TrainerOptions trainer_with = trainer_options();
  if (TestType::tuning::trains_base) trainer_with.dropout = 0;
  Run<TestType> whole(run_options(30), 1, trainer_with);
  const std::string expected = fingerprint(whole.trainer, whole.data, whole.run.train());
  REQUIRE(whole.data.steps_per_epoch() > 15);
  REQUIRE(whole.data.steps_per_epoch() < 30);
  for (const std::int64_t step :
       {1, 9, 26}) {  // in the first batch, mid-epoch between two rows of the log, second epoch
    const std::string out = temp / ("out" + std::to_string(step));
    {
      RunDirectory directory(out);
      Run<TestType> s(run_options(30), 1, trainer_with);
      s.run.save_into(directory, model_directory());
      s.run.train(StopAt{step});
    }
    RunDirectory directory(out);
    Run<TestType> s(run_options(30), 1, trainer_with);
    s.run.save_into(directory, model_directory());
    CHECK(s.run.resume(directory.newest_verified()).empty());
    CHECK(s.run.state().global_step == step);
    CHECK(fingerprint(s.trainer, s.data, s.run.train()) == expected);
    const std::string last = directory.checkpoint_path(30);
    std::vector<float> saved(static_cast<std::size_t>(trainable_parameters<TestType>));
    detail::read_slices(last + "/" + detail::parameters_file<TestType>(), "", Trainer<TestType>::slices(),
                        saved.data());
    CHECK(std::equal(saved.begin(), saved.end(), s.trainer.parameters()));
  }
}

TEST_CASE("a checkpoint is an adapter directory", "[checkpoint]") {
  const TempDir temp;
  train_up_to(temp / "out", 9);
  const std::vector<float> values = load_adapter<Small<>>(temp / "out/checkpoint-9");
  CHECK(std::count(values.begin(), values.end(), 0.0f) < static_cast<std::int64_t>(values.size()) / 10);
  CHECK(names_in(temp / "out/checkpoint-9") == std::vector<std::string>{"adapter_config.json",
                                                                        "adapter_model.safetensors", "checkpoint.json",
                                                                        "optimizer.safetensors", "trainer_state.json"});
  train_up_to<SmallBase>(temp / "base", 2);
  CHECK(std::filesystem::exists(temp / "base/checkpoint-2/config.json"));
  CpuDevice device(1);
  CHECK_NOTHROW(load_weights<SmallBase>(temp / "base/checkpoint-2", device));
}

TEST_CASE("another run is refused, naming every item that differs with both values", "[checkpoint]") {
  const TempDir temp;
  const std::string out = temp / "out";
  const std::string data_file = temp.write("rows.jsonl", "one").string(),
                    other_file = temp.write("other.jsonl", "two").string(),
                    same_file = temp.write("renamed.jsonl", "one").string();
  const RunItems inputs{file_item("data", data_file), file_item("tokenizer", data_file), base_item(model_directory())};
  {
    RunDirectory directory(out);
    Run<> s(run_options(30));
    s.run.save_into(directory, model_directory(), inputs);
    s.run.train(StopAt{9});
  }
  RunDirectory directory(out);
  const SavedCheckpoint checkpoint = directory.newest_verified();
  const auto refusal = [&](auto& s, const RunItems& with) {
    s.run.save_into(directory, model_directory(), with);
    const Error error = error_of([&] { s.run.resume(checkpoint); });
    CHECK(error.error_code() == run_differs);
    return error.detail();
  };
  const RunItems renamed{file_item("data", same_file), inputs[1], inputs[2]};
  Run<> same(run_options(30));
  same.run.save_into(directory, model_directory(), renamed);
  CHECK(same.run.resume(checkpoint).empty());

  Run<> s(run_options(30));
  CHECK(refusal(s, {file_item("data", other_file), inputs[1], inputs[2]}).where == "data");
  CHECK(refusal(s, {inputs[0], file_item("tokenizer", other_file), inputs[2]}).where == "tokenizer");
  CHECK(refusal(s, {inputs[0], inputs[1], {"base", std::string(64, '0')}}).where == "base");
  CHECK(refusal(s, {inputs[0], inputs[1]}).where == "\"base\"");

  const auto differing = [&](TrainingRunOptions options, TrainerOptions trainer_with, TrainingData data) {
    Run<> other(options, 1, trainer_with, best_isa(), std::move(data));
    return refusal(other, inputs);
  };
  TrainerOptions with = trainer_options();
  with.seed = 43;
  ErrorDetail d = differing(run_options(30), with, rows(150, 7, true));
  CHECK(d.where == "seed");
  CHECK(d.expected == "seed 42");
  CHECK(d.got == "seed 43");
  CHECK(differing(run_options(30), trainer_options(), rows(150, 7, true, 2, 43)).where == "data_seed");
  CHECK(differing(run_options(30), trainer_options(), rows(150, 7, true, 3)).where == "gradient_accumulation_steps");
  CHECK(differing(run_options(30), trainer_options(), rows(149, 7, true)).where == "rows");
  CHECK(differing(run_options(31), trainer_options(), rows(150, 7, true)).where == "max_steps");
  with = trainer_options();
  with.dropout = 0.2f;
  with.optimizer.learning_rate = 2e-2, with.optimizer.weight_decay = 0.1, with.optimizer.warmup_ratio = 0.2;
  with.optimizer.max_grad_norm = 2, with.optimizer.lr_scheduler = LrScheduler::linear, with.optimizer.beta1 = 0.8;
  CHECK(differing(run_options(30), with, rows(150, 7, true)).where ==
        "dropout, learning_rate, lr_scheduler, warmup_ratio, weight_decay, max_grad_norm, adam_beta1");

  Run<Small<DoRAWithDropout<8>>> rank(run_options(30));
  CHECK(refusal(rank, inputs).where == "adapter r, adapter alpha");
  Run<Small<PlainChat>> chat(run_options(30));
  CHECK(contains(refusal(chat, inputs).where, "chat_template prompt_template"));
}

TEST_CASE("a run at a constant rate may be made longer", "[checkpoint]") {
  const TempDir temp;
  TrainerOptions constant = trainer_options();
  constant.optimizer = {.learning_rate = 1e-2, .lr_scheduler = LrScheduler::constant};
  {
    RunDirectory directory(temp / "out");
    Run<> s(run_options(8), 1, constant);
    s.run.save_into(directory, model_directory());
    s.run.train();
  }
  RunDirectory directory(temp / "out");
  Run<> s(run_options(12), 1, constant), whole(run_options(12), 1, constant);
  s.run.save_into(directory, model_directory());
  CHECK(s.run.resume(directory.newest_verified()).empty());
  CHECK(!s.run.finished());
  s.run.train();
  whole.run.train();
  CHECK(s.run.state().global_step == 12);
  CHECK(std::equal(s.trainer.parameters(), s.trainer.parameters() + trainable_parameters<Small<>>,
                   whole.trainer.parameters()));
}

TEST_CASE("another instruction set goes on with one line, other threads with the same bits", "[checkpoint]") {
  const TempDir temp;
  train_up_to(temp / "out", 9);
  RunDirectory directory(temp / "out");
  const SavedCheckpoint checkpoint = directory.newest_verified();
  Run<> scalar(run_options(30), 1, trainer_options(), Isa::Scalar);
  scalar.run.save_into(directory, model_directory());
  const std::string line = scalar.run.resume(checkpoint);
  if (best_isa() != Isa::Scalar) {
    CHECK(line.starts_with("not bit-identical: isa "));
    CHECK(contains(line, "-> \"scalar\""));
    CHECK(!contains(line, "\n"));
  }
  Run<> whole(run_options(30)), threads(run_options(30), 3);
  threads.run.save_into(directory, model_directory());
  CHECK(threads.run.resume(checkpoint).starts_with("not bit-identical: threads 1 -> 3 "));
  CHECK(fingerprint(threads.trainer, threads.data, threads.run.train()) ==
        fingerprint(whole.trainer, whole.data, whole.run.train()));
}

TEST_CASE("a damaged file of a real checkpoint is refused and the one before goes on", "[checkpoint]") {
  const TempDir temp;
  const std::string out = temp / "out";
  {
    RunDirectory directory(out);
    Run<> s(run_options(30));
    s.run.save_into(directory, model_directory());
    s.run.train();
    REQUIRE(directory.steps() == std::vector<std::int64_t>{28, 30});
  }
  const std::string newest = out + "/checkpoint-30";
  std::int64_t tried = 0;
  for (const std::string& name : names_in(newest)) {
    const std::string file = newest + "/" + name, whole = read_file(file, 1 << 24);
    for (std::size_t i = 0; i < whole.size(); i += 1 + whole.size() / 40) {
      std::string bytes = whole;
      bytes[i] = static_cast<char>(bytes[i] ^ 1);
      overwrite(file, bytes);
      CHECK_THROWS_AS(verify_checkpoint(newest), Error);
      overwrite(file, whole.substr(0, i));
      CHECK_THROWS_AS(verify_checkpoint(newest), Error);
      tried += 2;
    }
    overwrite(file, whole);
  }
  CHECK(tried > 300);
  overwrite(newest + "/optimizer.safetensors", "cut");
  RunDirectory directory(out);
  CHECK(directory.newest_verified().global_step == 28);
}

TEST_CASE("a state or tensors that do not belong to the checkpoint are refused", "[checkpoint]") {
  const TempDir temp;
  train_up_to(temp / "out", 9);
  Run<> s(run_options(30));
  const SavedCheckpoint checkpoint{.path = temp / "out/checkpoint-9", .global_step = 9, .run = {}};
  const std::string state_file = checkpoint.file("trainer_state.json"), whole = read_file(state_file, 1 << 20);
  const Json json = parse_json(whole, state_file, 1 << 20);
  CHECK(training_state_from(json, state_file).log_history.items().size() == 2);
  const auto refused = [&](const char* key, Json value) {
    Json changed = json;
    changed.set(key, std::move(value));
    overwrite(state_file, changed.dump());
    const Error error = error_of([&] { load_checkpoint(checkpoint, s.trainer); });
    CHECK(error.error_code() == bad_training_state);
    CHECK(contains(error.detail().where, key));
  };
  refused("global_step", 8);
  refused("global_step", -1);
  refused("epoch", "two");
  refused("log_history", Json::object());
  refused("log_history", Json::array().push(3));
  refused("stateful_callbacks", Json::object());
  overwrite(state_file, whole);
  const TensorData wrong{"exp_avg.x", DType::F32, {0}, {}};
  write_safetensors(checkpoint.file("optimizer.safetensors"), {wrong});
  CHECK(error_of([&] { load_checkpoint(checkpoint, s.trainer); }).error_code() == checkpoint_damaged);
}

TEST_CASE("tensors that read back differently are noticed", "[checkpoint]") {
  const TempDir temp;
  const std::vector<float> values{1, 2, 3}, others{1, 2, 4};
  const std::string file = temp / "t.safetensors";
  write_safetensors(file, {{"a", DType::F32, {3}, std::as_bytes(std::span(values))}});
  CHECK_NOTHROW(detail::require_written(file, {{"a", DType::F32, {3}, std::as_bytes(std::span(values))}}));
  const auto differs = [&](const char* name, const std::vector<float>& with) {
    return error_of([&] { detail::require_written(file, {{name, DType::F32, {3}, std::as_bytes(std::span(with))}}); });
  };
  CHECK(differs("a", others).error_code() == written_differs);
  CHECK(differs("b", values).error_code() == written_differs);
}

TEST_CASE("the state of a run survives its file", "[checkpoint]") {
  TrainingState state;
  state.global_step = 9, state.max_steps = 30, state.epoch = 0.1 + 0.2, state.steps_per_epoch = 12;
  state.best_metric = 1.0 / 3, state.best_global_step = 7, state.best_model_checkpoint = "out/checkpoint-7";
  state.window = {.loss_sum = 1.1, .loss_tokens = 5, .tokens = 9, .seconds = 0.25};
  state.early_stopping_patience_counter = 2, state.stop_reason = TrainingStop::requested;
  state.log_history.push(Json::object().set("loss", 2.5).set("step", 4));
  const TrainingState read = training_state_from(parse_json(to_json(state).dump(2), "s", 1 << 20), "s");
  CHECK(to_json(read).dump() == to_json(state).dump());
  CHECK(read.window.loss_sum == state.window.loss_sum);
  CHECK(read.early_stopping_patience_counter == 2);
}

}  // namespace checkpoint_test
