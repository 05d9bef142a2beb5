// Sizes and a seed -> a Hugging Face directory of a Qwen3 model with random weights: a start for training from scratch,
// or a base to measure with. Weights as transformers initialises them: normal(0, initializer_range) for embedding and
// projections, 1 for norms.
#pragma once
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "expert/core/dtype.hpp"
#include "expert/core/random.hpp"
#include "expert/core/threads.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/json/json.hpp"

namespace random_model {
using namespace expert;

struct Sizes {
  std::int64_t hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, intermediate_size,
      vocab_size, max_position_embeddings;
  bool tie_word_embeddings;
};
inline constexpr Sizes tiny{256, 4, 4, 2, 64, 768, 2048, 2048, true};
inline constexpr Sizes qwen3_0_6b{1024, 28, 16, 8, 128, 3072, 151936, 40960, true};

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
inline std::vector<Tensor> tensors_of(const Sizes& s) {
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
void fill(ThreadPool& pool, std::vector<std::byte>& bytes, const Tensor& tensor, std::uint64_t seed,
          std::uint32_t index, double range) {
  const std::int64_t n = tensor.elements();
  const RandomStream random(seed, Purpose::random_base, 0, index);
  const std::size_t begin = bytes.size();
  bytes.resize(begin + static_cast<std::size_t>(n) * sizeof(T));
  constexpr std::int64_t piece = std::int64_t{1} << 16;
  pool.parallel_for((n + piece - 1) / piece, [&](std::int64_t p, int) noexcept {
    for (std::int64_t i = p * piece; i < std::min(n, (p + 1) * piece); ++i) {
      const auto at = static_cast<std::uint64_t>(i);
      const T value(tensor.is_norm() ? 1.0f : static_cast<float>(range * random.normal(at)));
      std::memcpy(bytes.data() + begin + at * sizeof(T), &value, sizeof(T));
    }
  });
}

// One file, or several with an index where shard_bytes > 0 (a tensor larger than that has a shard of its own).
inline void write_weights(const std::filesystem::path& out, const std::vector<Tensor>& tensors, DType dtype,
                          std::uint64_t seed, double range, std::int64_t shard_bytes) {
  ThreadPool pool(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
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
        fill<float>(pool, bytes, tensors[i], seed, index, range);
      } else {
        fill<bf16>(pool, bytes, tensors[i], seed, index, range);
      }
      data.push_back({tensors[i].name, dtype, tensors[i].shape, bytes});
      weight_map.set(tensors[i].name, name);
    }
    write_safetensors(out / name, std::move(data), {{"format", "pt"}});
  }
  if (shards.size() > 1) {
    Json index = Json::object();
    index.set("metadata", Json::object().set("total_size", total)).set("weight_map", std::move(weight_map));
    write_file(out / "model.safetensors.index.json", index.dump(2) + "\n");
  }
}

inline void write_configs(const std::filesystem::path& out, const Sizes& s, DType dtype, double range, std::int64_t bos,
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
  write_file(out / "config.json", config.dump(2) + "\n");
  Json generation = Json::object();
  generation.set("bos_token_id", bos).set("eos_token_id", std::move(eos_ids)).set("pad_token_id", pad);
  write_file(out / "generation_config.json", generation.dump(2) + "\n");
}

}  // namespace random_model
