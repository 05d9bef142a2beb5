// The shared prefix of a generator <-> a safetensors file: token ids, keys and values of every layer, and what they
// were computed with. A file is attached only to the model, adapter and rotation that it came from.
//
//   input_ids (n) I32, layers.L.keys and layers.L.values (num_key_value_heads, n, head_dim) in the compute type
//   metadata: format, model, base, adapter, rope: names and hashes
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/config.hpp"
#include "expert/core/error.hpp"
#include "expert/core/limits.hpp"
#include "expert/generate.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/io/sha256.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode kv_cache_of_another{315, "these keys and values were computed with something else"};
inline constexpr ErrorCode kv_cache_damaged{316, "this is not a whole key-value cache of this expert"};

namespace detail {

// Norms whole, matrices at 512 places each: every matrix is at least half a byte per weight.
template <class E>
std::string base_fingerprint(const ModelView<E>& model) {
  constexpr std::int64_t C = E::model::hidden_size, D = E::model::head_dim, places = 512;
  Sha256 hash;
  const auto vector = [&](const auto* values, std::int64_t n) {
    hash.update(std::as_bytes(std::span(values, static_cast<std::size_t>(n))));
  };
  const auto matrix = [&](const auto& m) {
    const std::byte* bytes;
    if constexpr (requires { m.packed; }) {
      bytes = m.packed.codes;
    } else {
      bytes = static_cast<const std::byte*>(m.data);
    }
    const std::int64_t n = m.out * m.in / 2, step = std::max<std::int64_t>(1, n / places);
    for (std::int64_t i = 0; i < n; i += step) hash.update(std::span(bytes + i, 1));
  };
  matrix(model.embed_tokens);
  for (const auto& layer : model.layers) {
    for (const auto& m : layer.projections) matrix(m);
    vector(layer.input_layernorm, C);
    vector(layer.post_attention_layernorm, C);
    vector(layer.q_norm, D);
    vector(layer.k_norm, D);
  }
  return hash.hex();
}

template <class E>
SafetensorsMetadata kv_cache_origin(const Generator<E>& generator) {
  using M = typename E::model;
  Sha256 rope, adapter;
  std::array<float, M::head_dim / 2> inv_freq;
  const float scaling = E::rope::inv_freq(inv_freq, M::rope_theta, M::head_dim, M::max_position_embeddings,
                                          generator.options().context_length);
  rope.update(std::as_bytes(std::span(inv_freq)));
  rope.update(std::as_bytes(std::span(&scaling, 1)));
  const AdapterView<E>* view = generator.adapter();
  if (view != nullptr) {
    adapter.update(std::as_bytes(std::span(view->values, static_cast<std::size_t>(AdapterLayout<E>::size))));
    if constexpr (E::adapter::is_dora)
      adapter.update(std::as_bytes(
          std::span(view->scale, static_cast<std::size_t>(AdapterLayout<E>::layer_outputs * M::num_hidden_layers))));
  }
  return {{"format", "expert-kv-2"},
          {"model", std::string(M::name)},
          {"quantization", std::string(E::quant::quantization)},
          {"base", base_fingerprint<E>(generator.model())},
          {"adapter", view == nullptr ? std::string("none") : adapter.hex()},
          {"rope", rope.hex()}};
}

inline std::string kv_tensor(std::int64_t layer, const char* what) {
  return std::string("layers.").append(std::to_string(layer)).append(".").append(what);
}

}  // namespace detail

// What the type must allow: policy KvPersistence.
template <class E>
struct persists_kv {
  static_assert(E::kv::persists,
                "EXPERT-E083: this expert's key-value cache is not one that is saved. Add KvPersistence.");
};

// The generator's shared prefix. Throws E203.
template <class E>
void save_kv_cache(const Generator<E>& generator, const std::string& path) {
  static_cast<void>(persists_kv<E>{});
  using T = typename E::compute::type;
  const std::span<const std::int32_t> ids = generator.prefix();
  constexpr std::int64_t heads = E::model::num_key_value_heads, D = E::model::head_dim;
  const std::int64_t n = std::ssize(ids);
  std::vector<TensorData> tensors{{"input_ids", DType::I32, {n}, std::as_bytes(ids)}};
  const auto step = static_cast<std::size_t>(generator.options().rows * generator.options().context_length * D);
  const auto add = [&](std::string name, const T* first) {
    tensors.push_back({std::move(name),
                       dtype_of<T>,
                       {heads, n, D},
                       std::as_bytes(std::span(first, static_cast<std::size_t>(n * D))),
                       heads,
                       step * sizeof(T)});
  };
  for (std::int64_t l = 0; l < E::model::num_hidden_layers; ++l) {
    add(detail::kv_tensor(l, "keys"), generator.keys(l, 0, 0));
    add(detail::kv_tensor(l, "values"), generator.values(l, 0, 0));
  }
  write_safetensors(path, std::move(tensors), detail::kv_cache_origin(generator));
}

// Attaches the file's prefix to the generator. Throws E315 where the file was made with another base, adapter or
// rotation, E316 where tensors are missing or do not fit, and 20x to 22x; the generator then has no shared prefix.
template <class E>
void load_kv_cache(Generator<E>& generator, const std::string& path, const Limits& limits = default_limits) {
  static_cast<void>(persists_kv<E>{});
  using T = typename E::compute::type;
  generator.share_prefix({});
  const SafetensorsFile file(path, limits);
  for (const SafetensorsText& item : detail::kv_cache_origin(generator)) {
    const auto& metadata = file.metadata();
    const auto found = std::find_if(metadata.begin(), metadata.end(), [&](const auto& m) { return m.key == item.key; });
    const std::string got = found == metadata.end() ? "(absent)" : found->value;
    if (got != item.value)
      throw Error(kv_cache_of_another, {.file = path,
                                        .where = item.key,
                                        .expected = expert::quoted(item.value, 80),
                                        .got = expert::quoted(got, 80),
                                        .fix = "Name the cache of this base, adapter and context, or let it be made"});
  }
  const auto tensor = [&](const std::string& name, DType dtype, const std::vector<std::int64_t>& shape) {
    const TensorView* view = file.find(name);
    if (view == nullptr || view->dtype != dtype || view->shape != shape)
      throw Error(kv_cache_damaged, {.file = path,
                                     .where = "tensor " + expert::quoted(name),
                                     .expected = std::string(name_of(dtype)).append(" ").append(shape_text(shape)),
                                     .got = view == nullptr ? "no such tensor" : shape_text(view->shape),
                                     .fix = "Remove the file"});
    return view->data;
  };
  const TensorView* stored = file.find("input_ids");
  const std::int64_t n = stored == nullptr || stored->shape.size() != 1 ? 0 : stored->shape[0];
  const std::byte* ids_data = tensor("input_ids", DType::I32, {n});
  if (n < 1 || n >= generator.options().context_length)
    throw Error(kv_cache_damaged,
                {.file = path,
                 .where = "tensor \"input_ids\"",
                 .expected = "1 to " + std::to_string(generator.options().context_length - 1) + " ids",
                 .got = std::to_string(n),
                 .fix = "Open a context that is longer than the prefix"});
  std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
  std::memcpy(ids.data(), ids_data, ids.size() * sizeof(std::int32_t));
  constexpr std::int64_t heads = E::model::num_key_value_heads, D = E::model::head_dim;
  const auto bytes = static_cast<std::size_t>(n * D) * sizeof(T);
  for (std::int64_t l = 0; l < E::model::num_hidden_layers; ++l) {
    const std::byte *keys = tensor(detail::kv_tensor(l, "keys"), dtype_of<T>, {heads, n, D}),
                    *values = tensor(detail::kv_tensor(l, "values"), dtype_of<T>, {heads, n, D});
    for (std::int64_t head = 0; head < heads; ++head, keys += bytes, values += bytes) {
      std::memcpy(generator.keys(l, head, 0), keys, bytes);
      std::memcpy(generator.values(l, head, 0), values, bytes);
    }
  }
  generator.adopt_prefix(ids);
}

}  // namespace v0
}  // namespace expert
