// Model directories and adapter directories against the type: every difference is named, in every dtype and layout.
#include "expert/weights.hpp"

#include <filesystem>
#include <fstream>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/adapter_file.hpp"
#include "expert/policy/assemble.hpp"
#include "small_model.hpp"
#include "temp_dir.hpp"

namespace weights_test {
using namespace expert;

namespace {

using tests::SmallModel;
struct OtherModel : HfDecoder<64, 2, 4, 2, 32, 96, 512, true, 64> {};
struct UntiedModel : HfDecoder<64, 2, 4, 2, 32, 128, 512, false, 128> {};
const std::filesystem::path data = std::filesystem::path(EXPERT_SOURCE_DIR) / "tests/parity/data";
template <class... Ps>
using Small = With<Expert<SmallModel, Compute<f32>, Packing<32>, Batch<2>, DoRA<12>>, Ps...>;

// A copy of the fixture's directory with its config and tensors changed by the caller.
struct Model {
  std::filesystem::path directory;
  Json config;
  SafetensorsFile file;
  std::vector<TensorData> tensors;
  std::vector<std::vector<std::byte>> own;

  explicit Model(std::filesystem::path d, const std::filesystem::path& source = data / "model")
      : directory(std::move(d)),
        config(read_json(source / "config.json", default_limits.config_bytes)),
        file(source / "model.safetensors") {
    for (const TensorView& t : file.tensors())
      tensors.push_back({t.name, t.dtype, t.shape, {t.data, static_cast<std::size_t>(t.bytes)}});
  }
  TensorData& operator[](const std::string& name) {
    return *std::find_if(tensors.begin(), tensors.end(), [&](const TensorData& t) { return t.name == name; });
  }
  // Every tensor in another dtype.
  template <class To>
  void convert(To (*round)(float)) {
    for (TensorData& t : tensors) {
      const std::vector<float> x = file.find(t.name)->to_f32();
      auto& bytes = own.emplace_back(x.size() * sizeof(To));
      for (std::size_t i = 0; i < x.size(); ++i) {
        const To y = round(x[i]);
        std::memcpy(bytes.data() + i * sizeof(To), &y, sizeof(To));
      }
      t.dtype = dtype_of<To>;
      t.bytes = bytes;
    }
  }
  const std::filesystem::path& write() {
    write_file(directory / "config.json", config.dump());
    write_safetensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
    return directory;
  }
};

// All weights of a directory, in f32.
std::vector<float> flat(const std::filesystem::path& directory) {
  CpuDevice device(2);
  const auto weights = load_weights<Small<>>(directory, device);
  std::vector<float> values(static_cast<std::size_t>(BaseLayout<Small<>>::size));
  weights.copy_base(values.data());
  return values;
}

}  // namespace

TEST_CASE("a checkpoint of another model is refused, every difference at once", "[weights]") {
  CpuDevice device(1);
  const Error error = error_of([&] { load_weights<With<Small<>, OtherModel>>(data / "model", device); });
  CHECK(error.code() == 238);
  const HfConfig config = read_hf_config(data / "model/config.json");
  const std::vector<Error> all = check_config<With<Small<>, OtherModel>>(config, "config.json");
  REQUIRE(all.size() == 2);
  CHECK(all[0].detail().where == "/intermediate_size");
  CHECK(all[1].detail().where == "/max_position_embeddings");
  CHECK(error_of([&] { load_weights<With<Small<>, UntiedModel>>(data / "model", device); }).code() == 238);
}

TEST_CASE("a rope type that the expert was not compiled for is refused", "[weights]") {
  const TempDir temp;
  CpuDevice device(1);
  Model model(temp.path());
  Json rope = Json::object();
  rope.set("rope_type", "linear").set("factor", 2.0).set("rope_theta", 1000000.0);
  model.config.set("rope_parameters", rope);
  model.write();
  const Error error = error_of([&] { load_weights<Small<>>(temp.path(), device); });
  CHECK(error.code() == 238);
  CHECK(error.detail().where == "/rope_parameters/rope_type");
  CHECK_NOTHROW(load_weights<Small<RopeLinear<Ratio{2}>>>(temp.path(), device));
}

TEST_CASE("tensors that are missing, extra, misshapen or not finite are named before any arithmetic", "[weights]") {
  const TempDir temp;
  CpuDevice device(1);
  Model model(temp.path());
  const auto code_and_name = [&](const std::string& name) {
    model.write();
    const Error error = error_of([&] { load_weights<Small<>>(temp.path(), device); });
    INFO(error.what());
    CHECK(contains(error.what(), name));
    return error.code();
  };
  const std::string name = "model.layers.1.self_attn.q_norm.weight";
  SECTION("missing") {
    std::erase_if(model.tensors, [&](const TensorData& t) { return t.name == name; });
    CHECK(code_and_name(name) == 236);
  }
  SECTION("extra") {
    model.tensors.push_back(model[name]);
    model.tensors.back().name = "model.layers.2.self_attn.q_norm.weight";
    CHECK(code_and_name("model.layers.2.self_attn.q_norm.weight") == 236);
  }
  SECTION("misshapen") {
    model[name].shape = {2, 16};
    CHECK(code_and_name(name) == 236);
  }
  SECTION("not finite") {
    std::vector<float> x = model.file.find(name)->to_f32();
    x[5] = std::numeric_limits<float>::infinity();
    model[name].bytes = std::as_bytes(std::span(x));
    CHECK(code_and_name(name) == 237);
  }
}

TEST_CASE("f32, bf16 and f16 checkpoints hold the same numbers in f32", "[weights]") {
  // Values that all three represent: f16's 11 bits would round what bf16's range allows.
  const auto round = [](float x) { return float(bf16(std::abs(x) < 0x1p-14f ? 0.0f : x)); };
  const TempDir a, b, c;
  Model f32_model(a.path()), bf16_model(b.path()), f16_model(c.path());
  f32_model.convert<float>(+round);
  bf16_model.convert<bf16>([](float x) { return bf16(std::abs(x) < 0x1p-14f ? 0.0f : x); });
  f16_model.convert<f16>([](float x) {
    const float y = float(bf16(std::abs(x) < 0x1p-14f ? 0.0f : x));
    const auto bits = std::bit_cast<std::uint32_t>(y);
    if (y == 0) return f16{};
    return f16::from_bits(static_cast<std::uint16_t>((bits >> 16 & 0x8000u) | (((bits >> 23 & 0xffu) - 112u) << 10) |
                                                     (bits >> 13 & 0x3ffu)));
  });
  const std::vector<float> expected = flat(f32_model.write());
  CHECK(flat(bf16_model.write()) == expected);
  CHECK(flat(f16_model.write()) == expected);
}

// Groups that do not divide the row, that are no power of two, and that are longer than a row.
TEMPLATE_TEST_CASE("affine weights are within half a step of the checkpoint's, in groups of any size", "[weights]",
                   Int4Affine<32>, Int4Affine<24>, Int4Affine<17>, Int4Affine<4096>) {
  using E = Small<TestType>;
  constexpr std::int64_t group = TestType::block_size;
  CpuDevice device(2);
  const auto weights = load_weights<E>(data / "model", device);
  const SafetensorsFile file(data / "model/model.safetensors");
  for (const Projection p : all_projections) {
    const auto& view = weights.view().layers[1][p];
    const std::vector<float> w = file.find("model.layers.1." + std::string(module_path(p)) + ".weight")->to_f32();
    std::int64_t outside = 0;
    for (std::int64_t n = 0; n < view.out; ++n)
      for (std::int64_t first = 0; first < view.in; first += group) {
        const float* begin = w.data() + n * view.in + first;
        const std::int64_t count = std::min(group, view.in - first);
        const auto [low, high] = std::minmax_element(begin, begin + count);
        for (std::int64_t i = 0; i < count; ++i)
          outside += std::abs(reference::packed_value(view.packed, n, first + i) - begin[i]) >
                     (*high - *low) / 30 * 1.0001f + 1e-6f;
      }
    CHECK(outside == 0);
  }
}

TEST_CASE("a base that bitsandbytes saved in NF4 is used as it is", "[weights]") {
  CpuDevice device(2);
  const auto saved = load_weights<Small<Int4Quant>>(data / "model_bnb_nf4", device);
  const auto quantised = load_weights<Small<Int4Quant>>(data / "model_bf16", device);
  const SafetensorsFile file(data / "model_bnb_nf4/model.safetensors");
  for (const Projection p : all_projections) {
    const PackedMatrix &a = saved.view().layers[1][p].packed, &b = quantised.view().layers[1][p].packed;
    CHECK(std::memcmp(a.codes, b.codes, static_cast<std::size_t>(a.code_bytes())) == 0);
    // The file's own definition: level * (dynamic level * nested absmax + offset).
    const std::string name = "model.layers.1." + std::string(module_path(p)) + ".weight";
    const auto codes = file.find(name)->as<std::uint8_t>(), absmax = file.find(name + ".absmax")->as<std::uint8_t>();
    const auto nested = file.find(name + ".nested_absmax")->to_f32(),
               map = file.find(name + ".nested_quant_map")->to_f32(), levels = file.find(name + ".quant_map")->to_f32();
    const auto state = file.find(name + ".quant_state.bitsandbytes__nf4")->as<std::uint8_t>();
    const std::string text(state.begin(), state.end());
    const float offset = std::strtof(text.c_str() + text.find("nested_offset") + 16, nullptr);
    std::int64_t unequal = 0;
    for (std::int64_t i = 0; i < a.out * a.in; ++i) {
      const auto at = static_cast<std::size_t>(i), block = at / 64;
      const float scale = map[absmax[block]] * nested[block / 256] + offset;
      const unsigned q = i % 2 == 0 ? unsigned{codes[at / 2]} >> 4 : codes[at / 2] & 15u;
      unequal += reference::packed_value(a, i / a.in, i % a.in) != levels[q] * scale;
    }
    CHECK(unequal == 0);
  }
  CHECK(error_of([&] { load_weights<Small<Int8Quant>>(data / "model_bnb_nf4", device); }).detail().where ==
        "/quantization_config");
}

TEST_CASE("an NF4 tensor whose parts do not fit is refused, each with its name", "[weights]") {
  CpuDevice device(1);
  const std::string name = "model.layers.0.mlp.up_proj.weight", state = ".quant_state.bitsandbytes__nf4";
  const auto refusal = [&](const std::string& part, auto change) {
    const TempDir temp;
    Model model(temp.path(), data / "model_bnb_nf4");
    change(model, model[name + part]);
    const Error e = error_of([&] { load_weights<Small<Int4Quant>>(model.write(), device); });
    CHECK(e.code() == 239);
    CHECK(e.detail().where.find(name + part) != std::string::npos);
  };
  const auto cut = [](Model&, TensorData& t) {
    t.shape = {t.shape[0] / 2}, t.bytes = t.bytes.first(t.bytes.size() / 2);
  };
  const auto rename = [](Model&, TensorData& t) { t.name += "s"; };
  const auto say = [](std::string_view from, std::string_view to) {
    return [=](Model& model, TensorData& t) {
      std::string text(reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size());
      REQUIRE(text.find(from) != text.npos);
      text.replace(text.find(from), from.size(), to);
      const auto bytes = std::as_bytes(std::span(text));
      t.bytes = model.own.emplace_back(bytes.begin(), bytes.end());
      t.shape = {static_cast<std::int64_t>(text.size())};
    };
  };
  for (const char* part : {"", ".absmax", ".nested_absmax", ".nested_quant_map", ".quant_map"}) {
    if (std::string_view(part) != ".nested_absmax") refusal(part, cut);
    if (part[0] == '.') refusal(part, rename);
  }
  refusal(state, rename);
  refusal(state, say("\"nf4\"", "\"fp4\""));
  refusal(state, say("\"blocksize\": 64", "\"blocksize\": 128"));
  refusal(state, say("[128, 64]", "[64, 128]"));
  refusal(state, say("\"nested_blocksize\": 256", "\"nested_blocksize\": 64"));
  refusal(state, say("0.3", "null, \"x\": 0.3"));
}

TEST_CASE("an adapter is read back as it was written", "[adapter_file]") {
  const TempDir temp;
  const std::vector<float> adapter = load_adapter<Small<>>(data / "dora_r12");
  save_adapter<Small<>>(adapter.data(), temp.path() / "new" / "folder", "model");
  CHECK(load_adapter<Small<>>(temp.path() / "new" / "folder") == adapter);
  CHECK(error_of([&] {
          save_adapter<Small<>>(adapter.data(), temp.path() / "new/folder/adapter_config.json/x", "model");
        }).code() == 203);
}

TEST_CASE("a trained base is saved in the type that is asked for", "[adapter_file]") {
  const TempDir temp;
  const std::vector<float> values = flat(data / "model");
  save_model<Small<>>(values.data(), temp.path() / "full", data / "model");
  save_model<Small<>, bf16>(values.data(), temp.path() / "half", data / "model");
  CHECK(flat(temp.path() / "full") == values);
  std::vector<float> rounded = values;
  for (float& x : rounded) x = float(bf16(x));
  CHECK(flat(temp.path() / "half") == rounded);
  CHECK(read_hf_config(temp.path() / "full/config.json").dtype == DType::F32);
  CHECK(read_hf_config(temp.path() / "half/config.json").dtype == DType::BF16);
}

TEST_CASE("an adapter of another kind is refused, every difference at once", "[adapter_file]") {
  const auto where = [&]<class E>(std::type_identity<E>) {
    const PeftConfig config = read_peft_config(data / "dora_r12/adapter_config.json");
    const SafetensorsFile file(data / "dora_r12/adapter_model.safetensors");
    std::string all;
    for (const Error& e : check_adapter<E>(config, file, "adapter_config.json")) all += e.detail().where + " ";
    return all;
  };
  CHECK(where(std::type_identity<Small<>>{}) == "");
  CHECK(where(std::type_identity<Small<DoRA<8>>>{}) == "/r /lora_alpha ");
  CHECK(where(std::type_identity<Small<LoRA<12>>>{}) == "/use_dora ");
  CHECK(where(std::type_identity<Small<RsLoRA<12>>>{}) == "/use_dora /use_rslora ");
  CHECK(where(std::type_identity<Small<DoRA<12, 24, AllSevenTargets>>>{}) == "/target_modules ");
  CHECK(error_of([&] { load_adapter<Small<DoRA<8>>>(data / "dora_r12"); }).code() == 266);
}

TEST_CASE("adapter tensors that are missing, extra, misshapen or not finite are named", "[adapter_file]") {
  const TempDir temp;
  const SafetensorsFile file(data / "dora_r12/adapter_model.safetensors");
  std::filesystem::copy_file(data / "dora_r12/adapter_config.json", temp.path() / "adapter_config.json");
  std::vector<TensorData> tensors;
  for (const TensorView& t : file.tensors())
    tensors.push_back({t.name, t.dtype, t.shape, {t.data, static_cast<std::size_t>(t.bytes)}});
  const std::string name = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight";
  const auto at = std::find_if(tensors.begin(), tensors.end(), [&](const TensorData& t) { return t.name == name; });
  REQUIRE(at != tensors.end());
  std::vector<float> values = file.find(name)->to_f32();
  std::string expected = name;
  SECTION("missing") { tensors.erase(at); }
  SECTION("extra") {
    tensors.push_back(*at);
    expected = tensors.back().name = "base_model.model.model.layers.7.mlp.up_proj.lora_B.weight";
  }
  SECTION("misshapen") { std::swap(at->shape[0], at->shape[1]); }
  SECTION("not finite") {
    values[9] = std::numeric_limits<float>::quiet_NaN();
    at->bytes = std::as_bytes(std::span(values));
    expected += ", element 9";
  }
  write_safetensors(temp.path() / "adapter_model.safetensors", tensors, {});
  const Error error = error_of([&] { load_adapter<Small<>>(temp.path()); });
  CHECK(error.code() == 267);
  CHECK(contains(error.what(), expected));
}

}  // namespace weights_test
