// The generator apart from its parity: batches, adapters, sampling, the memory plan, refused prompts and options.
#include "expert/generate.hpp"

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/adapter_file.hpp"
#include "expert/policy/assemble.hpp"
#include "expert/trainer.hpp"
#include "small_model.hpp"

#include <filesystem>

namespace generate_test {
using namespace expert;

namespace {

using tests::SmallModel;
const std::filesystem::path data = std::filesystem::path(EXPERT_SOURCE_DIR) / "tests/parity/data";
using Small = Expert<SmallModel, Compute<f32>, Packing<32>, Batch<2>, DoRA<12>>;
using Prompts = std::vector<std::vector<std::int32_t>>;
const Prompts prompts{{1, 2, 3}, {4, 5, 6, 7, 8, 9}, {10}, {11, 12}, {13, 14, 15, 16}};

std::vector<std::vector<std::int32_t>> ids_of(const std::vector<Generated>& answers) {
  std::vector<std::vector<std::int32_t>> ids;
  for (const Generated& g : answers) ids.push_back(g.ids);
  return ids;
}

}  // namespace

TEST_CASE("an adapter changes the answer, and equals its merged weights", "[generate]") {
  CpuDevice device(2);
  const auto weights = load_weights<Small>(data / "model", device);
  const std::vector<float> adapter = load_adapter<Small>(data / "dora_r12");
  GenerateOptions options;
  options.max_new_tokens = 12;
  const auto answers = [&](const float* a) {
    return ids_of(Generator<Small>(device, weights, a, {.context_length = 32, .rows = 2}).generate(prompts, options));
  };
  const auto with = answers(adapter.data()), without = answers(nullptr);
  CHECK(with != without);

  using Merged = With<Small, NoAdapter, FullFineTune>;
  const std::filesystem::path directory = std::filesystem::temp_directory_path() / "expert-generate-test-merged";
  save_model<Small>(merge_adapter<Small>(device, weights, adapter).data(), directory, data / "model");
  const auto merged = load_weights<Merged>(directory, device);
  CHECK(ids_of(Generator<Merged>(device, merged, nullptr, {.context_length = 32}).generate(prompts, options)) == with);
  std::filesystem::remove_all(directory);
}

TEMPLATE_TEST_CASE("an int8 head gives nearly the logits of the head, and is in the plan", "[generate]", Compute<f32>,
                   Compute<bf16>) {
  using Plain = With<Small, TestType>;
  using Int8 = With<Plain, HeadInt8>;
  CpuDevice device(2);
  const auto plain_weights = load_weights<Plain>(data / "model", device);
  const auto int8_weights = load_weights<Int8>(data / "model", device);
  Generator<Plain> plain(device, plain_weights, nullptr, {.context_length = 32});
  Generator<Int8> int8(device, int8_weights, nullptr, {.context_length = 32});
  const std::vector<std::int32_t> ids{3, 7, 11, 200};
  const auto expected = plain.append(0, ids), got = int8.append(0, ids);
  double error = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(double{static_cast<float>(got[i])} - double{static_cast<float>(expected[i])}, 2);
    size += std::pow(double{static_cast<float>(expected[i])}, 2);
  }
  CHECK(error > 0);
  CHECK(std::sqrt(error / size) < 0.02);
  using Plan = GenerationPlan<Int8>;
  CHECK(Plan::regions(1, 32, 32, false)[Plan::head].bytes ==
        packed_shape(PackedFormat::int8, SmallModel::vocab_size, SmallModel::hidden_size).packed_bytes());
  CHECK(GenerationPlan<Plain>::regions(1, 32, 32, false)[Plan::head].bytes == 0);
}

TEST_CASE("batches are of the sizes that the expert was compiled for", "[generate]") {
  using Odd = With<Small, DecodeBatches<6, 2, 3>>;
  CHECK(decode_rows<Odd>(1) == 2);
  CHECK(decode_rows<Odd>(3) == 3);
  CHECK(decode_rows<Odd>(4) == 6);
  CHECK(decode_rows<Odd>(100) == 6);
  CHECK_NOTHROW(check_decode_rows<Odd>(3));
  const Error e = error_of([] { check_decode_rows<Odd>(4); });
  CHECK(e.code() == 314);
  CHECK(e.detail().expected == "6, 2, 3");
  CpuDevice device(1);
  const auto weights = load_weights<Small>(data / "model", device);
  const Error made = error_of([&] { Generator<Small>(device, weights, nullptr, {.context_length = 32, .rows = 5}); });
  CHECK(made.code() == 314);
}

TEST_CASE("sampled answers depend on the seed and the prompt, not on the batch or the threads", "[generate]") {
  GenerateOptions options;
  options.max_new_tokens = 8;
  options.do_sample = true;
  options.sampling = {.temperature = 1.5, .top_k = 50, .top_p = 0.9};
  const auto run = [&](int threads, std::int64_t rows, std::uint64_t seed) {
    CpuDevice device(threads);
    const auto weights = load_weights<Small>(data / "model", device);
    options.seed = seed;
    return ids_of(
        Generator<Small>(device, weights, nullptr, {.context_length = 32, .rows = rows}).generate(prompts, options));
  };
  const auto alone = run(1, 1, 7);
  CHECK(run(2, 4, 7) == alone);
  CHECK(run(3, 8, 7) == alone);
  CHECK(run(1, 1, 8) != alone);
}

TEST_CASE("a row ends at an end token, at the length, at the context, or when the caller says so", "[generate]") {
  CpuDevice device(1);
  const auto weights = load_weights<Small>(data / "model", device);
  Generator<Small> generator(device, weights, nullptr, {.context_length = 16, .rows = 2});
  GenerateOptions options;
  options.max_new_tokens = 6;
  const auto free_run = generator.generate({prompts.data(), 1}, options);
  CHECK(free_run[0].stop_reason == StopReason::length);
  REQUIRE(free_run[0].ids.size() == 6);

  options.eos_token_id = {free_run[0].ids[3]};
  const auto ended = generator.generate({prompts.data(), 1}, options);
  CHECK(ended[0].stop_reason == StopReason::eos);
  const auto first = std::find(free_run[0].ids.begin(), free_run[0].ids.end(), free_run[0].ids[3]);
  CHECK(ended[0].ids == std::vector<std::int32_t>(free_run[0].ids.begin(), first));

  options.eos_token_id.clear();
  options.max_new_tokens = 100;
  const auto full = generator.generate({prompts.data(), 1}, options);
  CHECK(full[0].stop_reason == StopReason::context);
  CHECK(full[0].ids.size() == 16 - 3 + 1);  // the last token is chosen, not computed

  const auto stopped = generator.generate(
      {prompts.data(), 2}, options,
      [](std::size_t prompt, std::span<const std::int32_t> ids) { return prompt != 1 || ids.size() < 2; });
  CHECK(stopped[1].stop_reason == StopReason::callback);
  CHECK(stopped[1].ids.size() == 2);
  CHECK(stopped[0].ids == full[0].ids);
}

TEST_CASE("the caller is told of each row once, when it ends", "[generate]") {
  CpuDevice device(1);
  const auto weights = load_weights<Small>(data / "model", device);
  Generator<Small> generator(device, weights, nullptr, {.context_length = 16, .rows = 2});
  struct Watch {
    std::vector<std::size_t>& ended_prompts;
    std::vector<Generated>& results;
    bool operator()(std::size_t prompt, std::span<const std::int32_t> ids) const { return ids.size() <= prompt; }
    void ended(std::size_t prompt, const Generated& result) const {
      ended_prompts.push_back(prompt);
      results[prompt] = result;
    }
  };
  std::vector<std::size_t> ended;
  std::vector<Generated> results(prompts.size());
  GenerateOptions options;
  options.max_new_tokens = 3;
  const auto answers = generator.generate(prompts, options, Watch{ended, results});
  CHECK(ended == std::vector<std::size_t>{0, 1, 2, 3, 4});
  CHECK(ids_of(results) == ids_of(answers));
  for (std::size_t i = 0; i < answers.size(); ++i) CHECK(results[i].stop_reason == answers[i].stop_reason);
  CHECK(results[1].stop_reason == StopReason::callback);
  CHECK(results[4].stop_reason == StopReason::length);
}

TEST_CASE("what cannot be generated from is refused", "[generate]") {
  CpuDevice device(1);
  const auto weights = load_weights<Small>(data / "model", device);
  CHECK(error_of([&] { Generator<Small>(device, weights, nullptr, {.context_length = 129}); }).code() == 310);
  CHECK(error_of([&] { Generator<Small>(device, weights, nullptr, {.context_length = 0}); }).code() == 310);

  Generator<Small> generator(device, weights, nullptr, {.context_length = 4});
  const auto code_of = [&](const Prompts& p, const GenerateOptions& o) {
    return error_of([&] { generator.generate(p, o); }).code();
  };
  CHECK(code_of({{}}, {}) == 311);
  CHECK(code_of({{1, 2, 3, 4, 5}}, {}) == 311);
  CHECK(code_of({{512}}, {}) == 311);
  CHECK(code_of({{-1}}, {}) == 311);
  const auto option = [&](auto change) {
    GenerateOptions o;
    o.do_sample = true;
    change(o);
    return code_of({{1}}, o);
  };
  CHECK(option([](GenerateOptions& o) { o.max_new_tokens = 0; }) == 313);
  CHECK(option([](GenerateOptions& o) { o.sampling.temperature = 0; }) == 313);
  CHECK(option([](GenerateOptions& o) { o.sampling.top_k = -1; }) == 313);
  CHECK(option([](GenerateOptions& o) { o.sampling.top_p = 1.5; }) == 313);
  CHECK(option([](GenerateOptions& o) { o.sampling.min_p = -0.1; }) == 313);
  CHECK(option([](GenerateOptions& o) { o.sampling.repetition_penalty = 0; }) == 313);

  // A magnitude that overflows gives NaN logits: an error, never a token.
  std::vector<float> adapter = load_adapter<Small>(data / "dora_r12");
  for (float& x : adapter) x = 3e38f;
  Generator<Small> broken(device, weights, adapter.data(), {.context_length = 8});
  CHECK(error_of([&] { broken.generate(Prompts{{1, 2}}, {}); }).code() == 312);
}

}  // namespace generate_test
