// Shared prefixes: saved, restored and shared between rows, without a changed bit; files of others are refused.
#include <filesystem>
#include <vector>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/adapter_file.hpp"
#include "expert/kv_cache_file.hpp"
#include "expert/policy/assemble.hpp"
#include "temp_dir.hpp"

namespace kv_cache_test {
using namespace expert;

namespace {

struct SmallModel : HfDecoder<64, 2, 4, 2, 32, 128, 512, true, 128> {
  static constexpr std::string_view name = "small";
};
using Small = Expert<SmallModel, Compute<f32>, Packing<32>, DoRA<12>, KvPersistence, RopeDynamic<4, 32>>;
const std::filesystem::path data = std::filesystem::path(EXPERT_SOURCE_DIR) / "tests/parity/data";
const std::vector<std::int32_t> prefix{7, 8, 9, 10, 11};
using Prompts = std::vector<std::vector<std::int32_t>>;
const Prompts prompts{{7, 8, 9, 10, 11, 1}, {7, 8, 9, 10, 11, 2, 3, 4}, {7, 8, 9, 10, 11, 5, 6}};

std::vector<std::vector<std::int32_t>> answers(Generator<Small>& generator) {
  std::vector<std::vector<std::int32_t>> ids;
  for (const Generated& g : generator.generate(prompts, {.max_new_tokens = 9})) ids.push_back(g.ids);
  return ids;
}

struct Fixture {
  TempDir temp;
  CpuDevice device{2};
  Weights<Small> weights = load_weights<Small>(data / "model", device);
  std::vector<float> adapter = load_adapter<Small>(data / "dora_r12");
  GeneratorOptions options{.context_length = 32, .rows = 4};
};

}  // namespace

TEST_CASE("a shared prefix changes no answer, computed here or read from a file", "[kv]") {
  Fixture f;
  Generator<Small> plain(f.device, f.weights, f.adapter.data(), f.options);
  const auto expected = answers(plain);

  Generator<Small> shares(f.device, f.weights, f.adapter.data(), f.options);
  shares.share_prefix(prefix);
  CHECK(answers(shares) == expected);
  CHECK(answers(shares) == expected);  // the prefix is still there
  const std::string file = f.temp / "cache.safetensors";
  save_kv_cache(shares, file);

  Generator<Small> restored(f.device, f.weights, f.adapter.data(), f.options);
  load_kv_cache(restored, file);
  CHECK(std::vector<std::int32_t>(restored.prefix().begin(), restored.prefix().end()) == prefix);
  CHECK(answers(restored) == expected);
  const auto n = static_cast<std::size_t>(std::ssize(prefix) * 32);
  for (std::int64_t l = 0; l < 2; ++l)
    for (std::int64_t head = 0; head < 2; ++head)
      for (std::int64_t row = 0; row < 4; ++row) {
        CHECK(std::equal(shares.keys(l, head, 0), shares.keys(l, head, 0) + n, restored.keys(l, head, row)));
        CHECK(std::equal(shares.values(l, head, 0), shares.values(l, head, 0) + n, restored.values(l, head, row)));
      }
  restored.share_prefix({});
  CHECK(answers(restored) == expected);
}

TEST_CASE("prompts must go on from the prefix", "[kv]") {
  Fixture f;
  Generator<Small> generator(f.device, f.weights, nullptr, f.options);
  generator.share_prefix(prefix);
  CHECK(generator.begins_with_prefix(prompts[0]));
  for (const auto& ids : Prompts{{7, 8, 9, 10, 11}, {7, 8}, {7, 8, 9, 10, 12, 13}}) {
    CHECK_FALSE(generator.begins_with_prefix(ids));
    CHECK(error_of([&] { generator.generate({&ids, 1}, {}); }).code() == 311);
  }
  const std::vector<std::int32_t> too_long(32, 1);
  CHECK(error_of([&] { generator.share_prefix(too_long); }).code() == 311);
  CHECK(generator.prefix().empty());
}

TEST_CASE("keys and values of another base, adapter or rotation are refused", "[kv]") {
  Fixture f;
  Generator<Small> generator(f.device, f.weights, f.adapter.data(), f.options);
  generator.share_prefix(prefix);
  const std::string file = f.temp / "cache.safetensors";
  save_kv_cache(generator, file);
  const auto refused_for = [&](Generator<Small>& other) {
    const Error e = error_of([&] { load_kv_cache(other, file); });
    CHECK(e.code() == 315);
    CHECK(other.prefix().empty());
    return e.detail().where;
  };
  Generator<Small> without(f.device, f.weights, nullptr, f.options);
  CHECK(refused_for(without) == "adapter");
  std::vector<float> another_adapter = f.adapter;
  another_adapter[5] += 1;
  Generator<Small> changed(f.device, f.weights, another_adapter.data(), f.options);
  CHECK(refused_for(changed) == "adapter");
  Generator<Small> longer(f.device, f.weights, f.adapter.data(), {.context_length = 100, .rows = 1});
  CHECK(refused_for(longer) == "rope");
  using Quantised = With<Small, Int8Quant>;
  const auto quantised = load_weights<Quantised>(data / "model", f.device);
  Generator<Quantised> another(f.device, quantised, f.adapter.data(), f.options);
  CHECK(error_of([&] { load_kv_cache(another, file); }).detail().where == "quantization");
}

TEST_CASE("a broken cache file is refused", "[kv]") {
  Fixture f;
  Generator<Small> generator(f.device, f.weights, nullptr, f.options);
  generator.share_prefix(prefix);
  const std::string file = f.temp / "cache.safetensors";
  const auto code_after = [&](auto&& change) {
    save_kv_cache(generator, file);
    std::vector<TensorData> tensors;
    SafetensorsMetadata metadata;
    const SafetensorsFile written(file);
    metadata = written.metadata();
    for (const TensorView& t : written.tensors())
      tensors.push_back({t.name, t.dtype, t.shape, std::span(t.data, static_cast<std::size_t>(t.bytes))});
    change(tensors);
    const std::string broken = f.temp / "broken.safetensors";
    write_safetensors(broken, tensors, metadata);
    Generator<Small> other(f.device, f.weights, nullptr, f.options);
    const int code = error_of([&] { load_kv_cache(other, broken); }).code();
    CHECK(other.prefix().empty());
    return code;
  };
  const auto named = [](std::vector<TensorData>& tensors, const char* name) {
    return std::find_if(tensors.begin(), tensors.end(), [&](const TensorData& t) { return t.name == name; });
  };
  CHECK(code_after([&](auto& t) { t.erase(named(t, "input_ids")); }) == 316);
  CHECK(code_after([&](auto& t) { t.erase(named(t, "layers.1.values")); }) == 316);
  CHECK(code_after([&](auto& t) { named(t, "layers.0.keys")->shape = {2, 32, 5}; }) == 316);
  CHECK(code_after([&](auto& t) { named(t, "input_ids")->shape = {5, 1}; }) == 316);
  CHECK(error_of([&] { load_kv_cache(generator, f.temp / "absent"); }).code() == 200);
}

}  // namespace kv_cache_test
