// Where each trainable tensor lies in the flat f32 arrays of parameters, gradients and moments (all four share one
// layout, TrainedLayout<E>).
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "expert/core/config.hpp"
#include "expert/plan/tensors.hpp"
#include "expert/policy/adapter.hpp"

namespace expert {
inline namespace v0 {

inline constexpr auto all_projections = detail::layer_projections;
constexpr std::size_t index_of(Projection p) { return static_cast<std::size_t>(p); }

struct NamedSlice {
  std::string name;  // as the file spells it: PEFT's name for an adapter, transformers' for a base weight
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0, size = 0;
};

// Adapter: for each layer, for each target in the order of Projection: A (r, in), B (out, r), and for DoRA m (out).
template <class E>
struct AdapterLayout {
  using M = typename E::model;
  using A = typename E::adapter;
  struct Offsets {
    std::int64_t a = -1, b = -1, magnitude = -1;
  };
  static constexpr std::int64_t size_of(Projection p) {
    if (!A::targets(p)) return 0;
    return A::r * (in_features<M>(p) + out_features<M>(p)) + (A::is_dora ? out_features<M>(p) : 0);
  }
  static constexpr std::int64_t layer_size = [] {
    std::int64_t n = 0;
    for (const Projection p : all_projections) n += size_of(p);
    return n;
  }();
  static constexpr std::int64_t size = adapter_parameters<M, A>();

  static constexpr Offsets at(std::int64_t layer, Projection p) {
    std::int64_t offset = layer * layer_size;
    for (const Projection q : all_projections) {
      if (q == p) break;
      offset += size_of(q);
    }
    Offsets o{offset, offset + A::r * in_features<M>(p), -1};
    if (A::is_dora) o.magnitude = o.b + A::r * out_features<M>(p);
    return o;
  }
  // Columns of DoRA's scales: all outputs of the targets of one layer.
  static constexpr std::int64_t layer_outputs = [] {
    std::int64_t n = 0;
    for (const Projection p : all_projections) n += A::targets(p) ? out_features<M>(p) : 0;
    return n;
  }();
  static constexpr std::int64_t output_offset(std::int64_t layer, Projection p) {
    std::int64_t offset = layer * layer_outputs;
    for (const Projection q : all_projections) {
      if (q == p) break;
      offset += A::targets(q) ? out_features<M>(q) : 0;
    }
    return offset;
  }

  static std::string module_name(std::int64_t layer, Projection p) {
    return "model.layers." + std::to_string(layer) + "." + std::string(module_path(p));
  }
  static std::vector<NamedSlice> slices() {
    std::vector<NamedSlice> list;
    for (std::int64_t layer = 0; layer < M::num_hidden_layers; ++layer)
      for (const Projection p : all_projections) {
        if (!A::targets(p)) continue;
        const Offsets o = at(layer, p);
        const std::string name = "base_model.model." + module_name(layer, p);
        const std::int64_t in = in_features<M>(p), out = out_features<M>(p);
        list.push_back({name + ".lora_A.weight", {A::r, in}, o.a, A::r * in});
        list.push_back({name + ".lora_B.weight", {out, A::r}, o.b, out * A::r});
        if (A::is_dora) list.push_back({name + ".lora_magnitude_vector", {out}, o.magnitude, out});
      }
    return list;
  }
};

// What an adapter with parameters of its own trains: for each layer, for each target its tensors(out, in).
// AdapterLayout is that of the factors that it expands to.
template <class E>
struct OwnLayout {
  using M = typename E::model;
  using A = typename E::adapter;
  static constexpr std::int64_t size_of(Projection p) {
    std::int64_t n = 0;
    if (A::targets(p))
      for (const OwnTensor& tensor : A::tensors(out_features<M>(p), in_features<M>(p))) n += tensor.size;
    return n;
  }
  static constexpr std::int64_t layer_size = [] {
    std::int64_t n = 0;
    for (const Projection p : all_projections) n += size_of(p);
    return n;
  }();
  static constexpr std::int64_t size = layer_size * M::num_hidden_layers;
  static constexpr std::int64_t at(std::int64_t layer, Projection p) {
    std::int64_t offset = layer * layer_size;
    for (const Projection q : all_projections) {
      if (q == p) break;
      offset += size_of(q);
    }
    return offset;
  }
  static std::vector<NamedSlice> slices() {
    std::vector<NamedSlice> list;
    for (std::int64_t layer = 0; layer < M::num_hidden_layers; ++layer)
      for (const Projection p : all_projections) {
        if (!A::targets(p)) continue;
        std::int64_t offset = at(layer, p);
        for (const OwnTensor& tensor : A::tensors(out_features<M>(p), in_features<M>(p))) {
          std::string name = "base_model.model." + AdapterLayout<E>::module_name(layer, p);
          list.push_back({std::move(name.append(".").append(tensor.name)), {tensor.size}, offset, tensor.size});
          offset += tensor.size;
        }
      }
    return list;
  }
};

// Base weights under full fine-tuning: the checkpoint's tensors in the order of the tensor table.
template <class E>
struct BaseLayout {
  using M = typename E::model;
  static constexpr std::int64_t C = M::hidden_size, D = M::head_dim;
  static constexpr std::int64_t projections_size = [] {
    std::int64_t n = 0;
    for (const Projection p : all_projections) n += in_features<M>(p) * out_features<M>(p);
    return n;
  }();
  static constexpr std::int64_t layer_size = projections_size + 2 * C + 2 * D;
  static constexpr std::int64_t embed_tokens = 0, layers = M::vocab_size * C;
  static constexpr std::int64_t norm = layers + layer_size * M::num_hidden_layers;
  static constexpr std::int64_t lm_head = M::tie_word_embeddings ? embed_tokens : norm + C;
  static constexpr std::int64_t size = norm + C + (M::tie_word_embeddings ? 0 : M::vocab_size * C);

  static constexpr std::int64_t at(std::int64_t layer, Projection p) {
    std::int64_t offset = layers + layer * layer_size;
    for (const Projection q : all_projections) {
      if (q == p) break;
      offset += in_features<M>(q) * out_features<M>(q);
    }
    return offset;
  }
  static constexpr std::int64_t input_layernorm(std::int64_t l) { return layers + l * layer_size + projections_size; }
  static constexpr std::int64_t post_attention_layernorm(std::int64_t l) { return input_layernorm(l) + C; }
  static constexpr std::int64_t q_norm(std::int64_t l) { return input_layernorm(l) + 2 * C; }
  static constexpr std::int64_t k_norm(std::int64_t l) { return input_layernorm(l) + 2 * C + D; }

  static std::vector<NamedSlice> slices() {
    std::vector<NamedSlice> list;
    list.push_back({"model.embed_tokens.weight", {M::vocab_size, C}, embed_tokens, M::vocab_size * C});
    for (std::int64_t l = 0; l < M::num_hidden_layers; ++l) {
      const std::string layer = "model.layers." + std::to_string(l) + ".";
      for (const Projection p : all_projections) {
        const std::int64_t in = in_features<M>(p), out = out_features<M>(p);
        list.push_back({layer + std::string(module_path(p)) + ".weight", {out, in}, at(l, p), in * out});
      }
      list.push_back({layer + "input_layernorm.weight", {C}, input_layernorm(l), C});
      list.push_back({layer + "post_attention_layernorm.weight", {C}, post_attention_layernorm(l), C});
      list.push_back({layer + "self_attn.q_norm.weight", {D}, q_norm(l), D});
      list.push_back({layer + "self_attn.k_norm.weight", {D}, k_norm(l), D});
    }
    list.push_back({"model.norm.weight", {C}, norm, C});
    if (!M::tie_word_embeddings) list.push_back({"lm_head.weight", {M::vocab_size, C}, lm_head, M::vocab_size * C});
    return list;
  }
};

namespace detail {
template <class E>
consteval auto trained_layout() {
  if constexpr (E::tuning::trains_base) {
    return std::type_identity<BaseLayout<E>>{};
  } else if constexpr (slots::HasOwnParameters<typename E::adapter>) {
    return std::type_identity<OwnLayout<E>>{};
  } else {
    return std::type_identity<AdapterLayout<E>>{};
  }
}
}  // namespace detail

// What the optimizer updates: the base weights under full fine-tuning, else the adapter.
template <class E>
using TrainedLayout = typename decltype(detail::trained_layout<E>())::type;
template <class E>
inline constexpr std::int64_t trainable_parameters = TrainedLayout<E>::size;

}  // namespace v0
}  // namespace expert
