// A model type -> the tensors of its checkpoint (name and shape, transformers' names), projection sizes, parameter
// counts.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "expert/core/config.hpp"
#include "expert/policy/adapter.hpp"

namespace expert {
inline namespace v0 {

struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;  // as in the file: a projection is (out, in)
  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

// Where a projection lies inside a layer: "self_attn.q_proj", "mlp.up_proj".
constexpr std::string_view module_path(Projection p) {
  constexpr std::string_view paths[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                        "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
  return paths[static_cast<std::size_t>(p)];
}

template <class M>
constexpr std::int64_t in_features(Projection p) {
  if (p == Projection::o_proj) return M::num_attention_heads * M::head_dim;
  return p == Projection::down_proj ? M::intermediate_size : M::hidden_size;
}
template <class M>
constexpr std::int64_t out_features(Projection p) {
  switch (p) {
    case Projection::q_proj:
      return M::num_attention_heads * M::head_dim;
    case Projection::k_proj:
    case Projection::v_proj:
      return M::num_key_value_heads * M::head_dim;
    case Projection::gate_proj:
    case Projection::up_proj:
      return M::intermediate_size;
    case Projection::o_proj:
    case Projection::down_proj:
      break;
  }
  return M::hidden_size;
}

namespace detail {
inline constexpr std::array layer_projections{Projection::q_proj,   Projection::k_proj,    Projection::v_proj,
                                              Projection::o_proj,   Projection::gate_proj, Projection::up_proj,
                                              Projection::down_proj};
}  // namespace detail

// Elements of all projection matrices: what a quant policy stores.
template <class M>
constexpr std::int64_t linear_parameters() {
  std::int64_t n = 0;
  for (const Projection p : detail::layer_projections) n += in_features<M>(p) * out_features<M>(p);
  return n * M::num_hidden_layers;
}
// Elements of a whole checkpoint; a tied head is not stored twice.
template <class M>
constexpr std::int64_t model_parameters() {
  const std::int64_t norms = 2 * M::hidden_size + 2 * M::head_dim;
  return linear_parameters<M>() + norms * M::num_hidden_layers + M::hidden_size +
         (M::tie_word_embeddings ? 1 : 2) * M::vocab_size * M::hidden_size;
}
// Elements that an adapter adds: A (r, in), B (out, r) and for DoRA the magnitude (out) of every target.
template <class M, class Adapter>
constexpr std::int64_t adapter_parameters() {
  std::int64_t n = 0;
  for (const Projection p : detail::layer_projections)
    if (Adapter::targets(p))
      n += Adapter::r * (in_features<M>(p) + out_features<M>(p)) + (Adapter::is_dora ? out_features<M>(p) : 0);
  return n * M::num_hidden_layers;
}

// Every tensor of the checkpoint, in the order of transformers' state_dict. lm_head.weight only where it is not tied.
template <class M>
std::vector<TensorSpec> model_tensors() {
  std::vector<TensorSpec> tensors;
  tensors.push_back({"model.embed_tokens.weight", {M::vocab_size, M::hidden_size}});
  for (std::int64_t layer = 0; layer < M::num_hidden_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto add = [&](std::string_view name, std::vector<std::int64_t> shape) {
      tensors.push_back({prefix + std::string(name) + ".weight", std::move(shape)});
    };
    for (const Projection p : detail::layer_projections) {
      if (p == Projection::gate_proj) {
        add("self_attn.q_norm", {M::head_dim});
        add("self_attn.k_norm", {M::head_dim});
      }
      add(module_path(p), {out_features<M>(p), in_features<M>(p)});
    }
    add("input_layernorm", {M::hidden_size});
    add("post_attention_layernorm", {M::hidden_size});
  }
  tensors.push_back({"model.norm.weight", {M::hidden_size}});
  if (!M::tie_word_embeddings) tensors.push_back({"lm_head.weight", {M::vocab_size, M::hidden_size}});
  return tensors;
}

}  // namespace v0
}  // namespace expert
