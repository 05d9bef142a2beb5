// Sizes and a seed -> a Hugging Face directory of a Qwen3 model with random weights, to train from scratch or to
// measure with. Weights as transformers initialises them: normal(0, initializer_range) for embedding and projections, 1
// for norms.
#include <CLI/CLI.hpp>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "expert/core/dtype.hpp"
#include "expert/core/random.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/json/json.hpp"

namespace {

using namespace expert;

struct Sizes {
  std::int64_t hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, intermediate_size,
      vocab_size, max_position_embeddings;
  bool tie_word_embeddings;
};
constexpr Sizes tiny{256, 4, 4, 2, 64, 768, 2048, 2048, true};
constexpr Sizes qwen3_0_6b{1024, 28, 16, 8, 128, 3072, 151936, 40960, true};

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  bool is_norm() const { return shape.size() == 1; }
  std::int64_t elements() const {
    std::int64_t n = 1;
    for (const std::int64_t size : shape) n *= size;
    return n;
  }
};

// The checkpoint's tensors for sizes that are known only now (plan/tensors.hpp has them for types).
std::vector<Tensor> tensors_of(const Sizes& s) {
  const std::int64_t C = s.hidden_size, F = s.intermediate_size, Q = s.num_attention_heads * s.head_dim,
                     KV = s.num_key_value_heads * s.head_dim;
  std::vector<Tensor> tensors{{"model.embed_tokens.weight", {s.vocab_size, C}}};
  for (std::int64_t l = 0; l < s.num_hidden_layers; ++l) {
    const std::string prefix = "model.layers." + std::to_string(l) + ".";
    const auto add = [&](const char* name, std::vector<std::int64_t> shape) {
      tensors.push_back({prefix + name + ".weight", std::move(shape)});
    };
    add("self_attn.q_proj", {Q, C});
    add("self_attn.k_proj", {KV, C});
    add("self_attn.v_proj", {KV, C});
    add("self_attn.o_proj", {C, Q});
    add("self_attn.q_norm", {s.head_dim});
    add("self_attn.k_norm", {s.head_dim});
    add("mlp.gate_proj", {F, C});
    add("mlp.up_proj", {F, C});
    add("mlp.down_proj", {C, F});
    add("input_layernorm", {C});
    add("post_attention_layernorm", {C});
  }
  tensors.push_back({"model.norm.weight", {C}});
  if (!s.tie_word_embeddings) tensors.push_back({"lm_head.weight", {s.vocab_size, C}});
  return tensors;
}

// Tensor `index` of the model. The values depend on seed, index and place only, not on dtype or sharding.
template <class T>
void fill(std::vector<std::byte>& bytes, const Tensor& tensor, std::uint64_t seed, std::uint32_t index, double range) {
  const std::int64_t n = tensor.elements();
  const RandomStream random(seed, Purpose::random_base, 0, index);
  const std::size_t begin = bytes.size();
  bytes.resize(begin + static_cast<std::size_t>(n) * sizeof(T));
  for (std::int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::uint64_t>(i);
    const T value(tensor.is_norm() ? 1.0f : static_cast<float>(range * random.normal(at)));
    std::memcpy(bytes.data() + begin + at * sizeof(T), &value, sizeof(T));
  }
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

// One file, or several with an index where shard_bytes > 0 (a tensor larger than that has a shard of its own).
void write_weights(const std::filesystem::path& out, const std::vector<Tensor>& tensors, DType dtype,
                   std::uint64_t seed, double range, std::int64_t shard_bytes) {
  std::vector<std::vector<std::size_t>> shards(1);
  std::int64_t in_shard = 0, total = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::int64_t size = tensors[i].elements() * bytes_of(dtype);
    if (shard_bytes > 0 && !shards.back().empty() && in_shard + size > shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().push_back(i);
    in_shard += size;
    total += size;
  }
  Json weight_map = Json::object();
  for (std::size_t s = 0; s < shards.size(); ++s) {
    char name[64] = "model.safetensors";
    if (shards.size() > 1) std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", s + 1, shards.size());
    std::vector<std::vector<std::byte>> buffers;
    std::vector<TensorData> data;
    for (const std::size_t i : shards[s]) {
      auto& bytes = buffers.emplace_back();
      const auto index = static_cast<std::uint32_t>(i);
      if (dtype == DType::F32) {
        fill<float>(bytes, tensors[i], seed, index, range);
      } else {
        fill<bf16>(bytes, tensors[i], seed, index, range);
      }
      data.push_back({tensors[i].name, dtype, tensors[i].shape, bytes});
      weight_map.set(tensors[i].name, name);
    }
    write_safetensors(out / name, std::move(data), {{"format", "pt"}});
  }
  if (shards.size() > 1) {
    Json index = Json::object();
    index.set("metadata", Json::object().set("total_size", total)).set("weight_map", std::move(weight_map));
    write_text(out / "model.safetensors.index.json", index.dump(2) + "\n");
  }
}

void write_configs(const std::filesystem::path& out, const Sizes& s, DType dtype, double range, std::int64_t bos,
                   const std::vector<std::int64_t>& eos, std::int64_t pad) {
  Json layer_types = Json::array(), eos_ids = Json::array();
  for (std::int64_t l = 0; l < s.num_hidden_layers; ++l) layer_types.push("full_attention");
  for (const std::int64_t id : eos) eos_ids.push(id);
  const char* dtype_name = dtype == DType::F32 ? "float32" : "bfloat16";
  Json config = Json::object();
  config.set("architectures", Json::array().push("Qwen3ForCausalLM"))
      .set("attention_bias", false)
      .set("attention_dropout", 0.0)
      .set("bos_token_id", bos)
      .set("dtype", dtype_name)
      .set("eos_token_id", eos.front())
      .set("head_dim", s.head_dim)
      .set("hidden_act", "silu")
      .set("hidden_size", s.hidden_size)
      .set("initializer_range", range)
      .set("intermediate_size", s.intermediate_size)
      .set("layer_types", std::move(layer_types))
      .set("max_position_embeddings", s.max_position_embeddings)
      .set("max_window_layers", s.num_hidden_layers)
      .set("model_type", "qwen3")
      .set("num_attention_heads", s.num_attention_heads)
      .set("num_hidden_layers", s.num_hidden_layers)
      .set("num_key_value_heads", s.num_key_value_heads)
      .set("pad_token_id", pad)
      .set("rms_norm_eps", 1e-6)
      .set("rope_parameters", Json::object().set("rope_theta", 1000000.0).set("rope_type", "default"))
      .set("sliding_window", nullptr)
      .set("tie_word_embeddings", s.tie_word_embeddings)
      .set("use_cache", true)
      .set("use_sliding_window", false)
      .set("vocab_size", s.vocab_size);
  write_text(out / "config.json", config.dump(2) + "\n");
  Json generation = Json::object();
  generation.set("bos_token_id", bos).set("eos_token_id", std::move(eos_ids)).set("pad_token_id", pad);
  write_text(out / "generation_config.json", generation.dump(2) + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes a Qwen3 model with random weights as a Hugging Face directory");
  std::string out, preset, dtype_name, tokenizer;
  std::uint64_t seed = 1;
  double range = 0.02;
  std::int64_t shard_bytes = 0, bos = 0, pad = 0;
  std::vector<std::int64_t> eos;
  Sizes sizes = tiny;
  app.add_option("--out", out, "directory to write")->required();
  app.add_option("--preset", preset, "sizes to begin with; the options below change them")
      ->check(CLI::IsMember({"tiny", "qwen3-0.6b"}))
      ->default_val("tiny");
  struct {
    const char* name;
    std::int64_t Sizes::* member;
    std::int64_t value;
  } options[] = {{"--hidden-size", &Sizes::hidden_size, 0},
                 {"--num-hidden-layers", &Sizes::num_hidden_layers, 0},
                 {"--num-attention-heads", &Sizes::num_attention_heads, 0},
                 {"--num-key-value-heads", &Sizes::num_key_value_heads, 0},
                 {"--head-dim", &Sizes::head_dim, 0},
                 {"--intermediate-size", &Sizes::intermediate_size, 0},
                 {"--vocab-size", &Sizes::vocab_size, 0},
                 {"--max-position-embeddings", &Sizes::max_position_embeddings, 0}};
  for (auto& option : options) app.add_option(option.name, option.value)->check(CLI::Range(1, 1 << 24));
  bool untied = false;
  app.add_flag("--untied", untied, "a head of its own");
  app.add_option("--dtype", dtype_name, "of the file")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->default_val("bfloat16");
  app.add_option("--seed", seed)->default_val(seed);
  app.add_option("--initializer-range", range)->default_val(range);
  app.add_option("--shard-bytes", shard_bytes, "split the weights into files of about this size")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--tokenizer", tokenizer, "tokenizer.json to copy into the directory")->check(CLI::ExistingFile);
  app.add_option("--bos-token-id", bos);
  app.add_option("--eos-token-id", eos, "any of them ends an answer; the first goes into config.json");
  app.add_option("--pad-token-id", pad);
  CLI11_PARSE(app, argc, argv);

  try {
    if (preset == "qwen3-0.6b") {
      sizes = qwen3_0_6b;
      if (eos.empty()) bos = pad = 151643, eos = {151645, 151643};
    }
    for (const auto& option : options)
      if (option.value > 0) sizes.*option.member = option.value;
    if (untied) sizes.tie_word_embeddings = false;
    if (eos.empty()) eos = {0};
    if (sizes.head_dim % 2 != 0 || sizes.num_attention_heads % sizes.num_key_value_heads != 0)
      throw CLI::ValidationError("head_dim must be even, and num_attention_heads a multiple of num_key_value_heads");
    std::filesystem::create_directories(out);
    const DType dtype = dtype_name == "float32" ? DType::F32 : DType::BF16;
    const auto tensors = tensors_of(sizes);
    write_weights(out, tensors, dtype, seed, range, shard_bytes);
    write_configs(out, sizes, dtype, range, bos, eos, pad);
    if (!tokenizer.empty())
      std::filesystem::copy_file(tokenizer, std::filesystem::path(out) / "tokenizer.json",
                                 std::filesystem::copy_options::overwrite_existing);
    std::int64_t parameters = 0;
    for (const Tensor& tensor : tensors) parameters += tensor.elements();
    std::printf("%s: %" PRId64 " parameters, %s\n", out.c_str(), parameters, dtype_name.c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
