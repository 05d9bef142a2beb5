// io/checkpoint_dir.hpp: which files make a model, and that every problem with its tensors is found and named.
#include "expert/io/checkpoint_dir.hpp"

#include <cmath>
#include <filesystem>
#include <limits>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/policy/model.hpp"
#include "temp_dir.hpp"

namespace checkpoint_dir_test {
using namespace expert;

namespace {

const std::filesystem::path fixtures = std::filesystem::path(EXPERT_SOURCE_DIR) / "tests/parity/data";
using FixtureModel = HfDecoder<64, 2, 4, 2, 32, 128, 512, true, 128>;
const std::vector<float> numbers{1, 2, 3, 4, 5, 6};
const std::vector<float> others{1, 2, 3, 4, 5, 7};

TensorData f32(std::string name, std::vector<std::int64_t> shape, const std::vector<float>& values = numbers) {
  return {std::move(name), DType::F32, std::move(shape), std::as_bytes(std::span(values))};
}
Checkpoint saved(const TempDir& dir, std::vector<TensorData> tensors) {
  write_safetensors(dir / "model.safetensors", std::move(tensors));
  return Checkpoint::open(dir.path());
}
Error refused(const std::filesystem::path& path) {
  return error_of([&] { Checkpoint::open(path); });
}

}  // namespace

TEST_CASE("the fixtures hold the tensors of their model, all finite", "[checkpoint_dir]") {
  for (const char* name : {"model", "model_bf16"}) {
    const Checkpoint checkpoint = Checkpoint::open(fixtures / name);
    CHECK(checkpoint.tensors().size() == model_tensors<FixtureModel>().size());
    CHECK(check_tensors(checkpoint, model_tensors<FixtureModel>()).empty());
    CHECK(check_finite(checkpoint).empty());
    REQUIRE(checkpoint.find("model.norm.weight") != nullptr);
    CHECK(checkpoint.find("model.norm.weight")->elements() == 64);
    CHECK(checkpoint.find("model.norm") == nullptr);
  }
}

TEST_CASE("another model's tensors are all reported: missing, too many, other shapes", "[checkpoint_dir]") {
  const Checkpoint checkpoint = Checkpoint::open(fixtures / "model");
  const auto errors = [&](std::vector<TensorSpec> specs) { return check_tensors(checkpoint, specs); };
  // A third layer: its 11 tensors are missing. One layer: 11 too many.
  CHECK(errors(model_tensors<HfDecoder<64, 3, 4, 2, 32, 128, 512, true, 128>>()).size() == 11);
  CHECK(errors(model_tensors<HfDecoder<64, 1, 4, 2, 32, 128, 512, true, 128>>()).size() == 11);
  // Another intermediate size: gate, up and down in both layers.
  const auto shapes = errors(model_tensors<HfDecoder<64, 2, 4, 2, 32, 96, 512, true, 128>>());
  CHECK(shapes.size() == 6);
  for (const Error& error : shapes) {
    CHECK(error.error_code() == tensors_differ);
    CHECK(contains(error.what(), "mlp."));
    CHECK(contains(error.what(), "model.safetensors"));
  }
  CHECK(contains(shapes[0].what(), "Expected shape [96, 64], got [128, 64]"));
  const auto untied = errors(model_tensors<HfDecoder<64, 2, 4, 2, 32, 128, 512, false, 128>>());
  REQUIRE(untied.size() == 1);
  CHECK(contains(untied[0].what(), "tie_word_embeddings"));
}

TEST_CASE("a stored head of a tied model must be the embedding, bit for bit", "[checkpoint_dir]") {
  const std::vector<TensorSpec> specs{{"model.embed_tokens.weight", {2, 3}}};
  const auto count = [&](std::vector<TensorData> tensors) {
    const TempDir dir;
    return check_tensors(saved(dir, std::move(tensors)), specs).size();
  };
  const TensorData embedding = f32("model.embed_tokens.weight", {2, 3});
  CHECK(count({embedding, f32("lm_head.weight", {2, 3})}) == 0);
  CHECK(count({embedding, f32("lm_head.weight", {2, 3}, others)}) == 1);
  CHECK(count({embedding, f32("lm_head.weight", {3, 2})}) == 1);
  CHECK(count({embedding, f32("model.layers.0.self_attn.rotary_emb.inv_freq", {6})}) == 0);
  CHECK(count({embedding, f32("model.extra", {6})}) == 1);
  CHECK(count({f32("embed_tokens.weight", {2, 3})}) == 2);  // saved without the head: one missing, one too many
}

TEST_CASE("weights in another dtype than F32, BF16, F16 are named", "[checkpoint_dir]") {
  const TempDir dir;
  const std::vector<double> wide{1, 2};
  const Checkpoint checkpoint = saved(dir, {{"w", DType::F64, {2}, std::as_bytes(std::span(wide))}});
  const std::vector<TensorSpec> specs{{"w", {2}}};
  const auto errors = check_tensors(checkpoint, specs);
  REQUIRE(errors.size() == 1);
  CHECK(contains(errors[0].what(), "got F64"));
}

TEST_CASE("NaN and infinity are found in every dtype, at the first place, once per tensor", "[checkpoint_dir]") {
  const TempDir dir;
  std::vector<float> large(10000, 1.0f);
  large[9999] = std::nanf("");
  std::vector<float> early(5000, -1.0f);
  early[7] = -std::numeric_limits<float>::infinity();
  early[4999] = std::nanf("");
  std::vector<bf16> narrow(20, bf16(3.0f));
  narrow[13] = bf16(std::numeric_limits<float>::infinity());
  std::vector<f16> half(5, f16::from_bits(0x7bff));  // 65504, the largest
  half[4] = f16::from_bits(0x7e00);
  std::vector<float> extreme{std::numeric_limits<float>::max(), -std::numeric_limits<float>::max(),
                             std::numeric_limits<float>::denorm_min(), -0.0f};
  const Checkpoint checkpoint = saved(dir, {f32("a.large", {100, 100}, large),
                                            f32("b.early", {5000}, early),
                                            {"c.narrow", DType::BF16, {4, 5}, std::as_bytes(std::span(narrow))},
                                            {"d.half", DType::F16, {5}, std::as_bytes(std::span(half))},
                                            f32("e.fine", {2, 2}, extreme)});
  const auto errors = check_finite(checkpoint);
  REQUIRE(errors.size() == 4);
  CHECK(errors[0].error_code() == tensor_not_finite);
  CHECK(contains(errors[0].what(), "\"a.large\", element 9999 at [99, 99]"));
  CHECK(contains(errors[1].what(), "\"b.early\", element 7 at [7]"));
  CHECK(contains(errors[2].what(), "\"c.narrow\", element 13 at [2, 3]"));
  CHECK(contains(errors[3].what(), "\"d.half\", element 4 at [4]"));
}

TEST_CASE("shards read as one model, and the total may be absent", "[checkpoint_dir]") {
  const TempDir dir;
  write_safetensors(dir / "model-00001-of-00002.safetensors", {f32("b", {6}), f32("z", {2, 3})});
  write_safetensors(dir / "model-00002-of-00002.safetensors", {f32("a", {6}, others)});
  const std::string map = R"("weight_map": {"b": "model-00001-of-00002.safetensors",
      "z": "model-00001-of-00002.safetensors", "a": "model-00002-of-00002.safetensors"}})";
  for (const char* metadata : {R"({"metadata": {"total_size": 72}, )", R"({"metadata": {"total_size": 72.0}, )",
                               R"({"metadata": {}, )", "{"}) {
    dir.write("model.safetensors.index.json", metadata + map);
    Checkpoint opened = Checkpoint::open(dir.path());
    const Checkpoint checkpoint = std::move(opened);
    REQUIRE(checkpoint.tensors().size() == 3);
    CHECK(checkpoint.tensors()[0]->name == "a");
    CHECK(checkpoint.find("a")->to_f32() == others);
    CHECK(checkpoint.find("z")->to_f32() == numbers);
    CHECK(contains(checkpoint.file_of(*checkpoint.find("a")), "00002-of-00002"));
    CHECK(checkpoint.name() == dir.path().string());
  }
  // A link to a blob is how download caches lay files out.
  std::filesystem::rename(dir / "model-00002-of-00002.safetensors", dir / "blob");
  std::filesystem::create_symlink("blob", dir / "model-00002-of-00002.safetensors");
  CHECK(Checkpoint::open(dir.path()).find("a")->to_f32() == others);
}

TEST_CASE("a directory without weights, with two sets, or with pickles only is refused with the reason",
          "[checkpoint_dir]") {
  const TempDir dir;
  CHECK(refused(dir / "missing").error_code() == model_files);
  CHECK(contains(refused(dir / "missing").what(), "No such file"));
  const auto file = dir.write("file", "x");
  CHECK(contains(refused(file).what(), "got a file"));
  CHECK(contains(refused(dir.path()).what(), "got neither"));
  dir.write("adapter_model.safetensors", "x");
  CHECK(contains(refused(dir.path()).what(), "an adapter"));
  dir.write("pytorch_model.bin", "x");
  const Error pickle = refused(dir.path());
  CHECK(pickle.error_code() == model_files);
  CHECK(contains(pickle.what(), "pytorch_model.bin"));
  CHECK(contains(pickle.what(), "can run code"));
  write_safetensors(dir / "model.safetensors", {f32("a", {6})});
  CHECK(Checkpoint::open(dir.path()).tensors().size() == 1);  // the pickle beside it is never opened
  dir.write("model.safetensors.index.json", "{}");
  CHECK(contains(refused(dir.path()).what(), "got both"));
}

}  // namespace checkpoint_dir_test
