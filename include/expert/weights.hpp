// 2. A Hugging Face model directory -> checked weights in the types in which an expert uses them.
// Everything is checked before any arithmetic: config.json against the model policy, presence, shape and dtype of every
// tensor, and that no number is NaN or infinite.
#pragma once
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "expert/core/config.hpp"
#include "expert/core/dtype.hpp"
#include "expert/core/error.hpp"
#include "expert/core/limits.hpp"
#include "expert/cpu/ops.hpp"
#include "expert/cpu/pack.hpp"
#include "expert/io/cache_file.hpp"
#include "expert/io/checkpoint_dir.hpp"
#include "expert/io/files.hpp"
#include "expert/io/hf_config.hpp"
#include "expert/io/weight_cache.hpp"
#include "expert/ops/model_view.hpp"
#include "expert/ops/quantize.hpp"
#include "expert/plan/parameters.hpp"
#include "expert/plan/tensors.hpp"
#include "expert/policy/quant.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode config_differs{238, "the checkpoint is not the model that this expert was compiled for"};

// One line for each field of config.json that differs from the model or rope policy; empty when the checkpoint fits.
template <class E>
std::vector<Error> check_config(const HfConfig& config, const std::string& file) {
  using M = typename E::model;
  std::vector<Error> found;
  const auto compare = [&](const char* key, auto in_file, auto compiled) {
    if (in_file == compiled) return;
    const auto text = [](auto v) {
      if constexpr (std::is_same_v<decltype(v), bool>) {
        return std::string(v ? "true" : "false");
      } else {
        char buffer[32];
        std::snprintf(buffer, sizeof buffer, "%.10g", static_cast<double>(v));
        return std::string(buffer);
      }
    };
    found.emplace_back(
        config_differs,
        ErrorDetail{.file = file,
                    .where = std::string("/") + key,
                    .expected = text(compiled) + " (model " + std::string(M::name) + ")",
                    .got = text(in_file),
                    .fix = "Use the checkpoint of that model, or compile HfDecoder<...> with these sizes"});
  };
  compare("hidden_size", config.hidden_size, M::hidden_size);
  compare("num_hidden_layers", config.num_hidden_layers, M::num_hidden_layers);
  compare("num_attention_heads", config.num_attention_heads, M::num_attention_heads);
  compare("num_key_value_heads", config.num_key_value_heads, M::num_key_value_heads);
  compare("head_dim", config.head_dim, M::head_dim);
  compare("intermediate_size", config.intermediate_size, M::intermediate_size);
  compare("vocab_size", config.vocab_size, M::vocab_size);
  compare("max_position_embeddings", config.max_position_embeddings, M::max_position_embeddings);
  compare("tie_word_embeddings", config.tie_word_embeddings, M::tie_word_embeddings);
  compare("rms_norm_eps", config.rms_norm_eps, M::rms_norm_eps);
  compare("rope_theta", config.rope.rope_theta, M::rope_theta);
  if (config.serialised_nf4 && E::quant::kind != WeightKind::nf4)
    found.emplace_back(config_differs,
                       ErrorDetail{.file = file,
                                   .where = "/quantization_config",
                                   .expected = "none (quantization " + std::string(E::quant::quantization) + ")",
                                   .got = "bitsandbytes' NF4",
                                   .fix = "Compile the expert with Int4Quant, or use the unquantised checkpoint"});
  if (config.rope.rope_type != "default" && config.rope.rope_type != E::rope::type)
    found.emplace_back(config_differs, ErrorDetail{.file = file,
                                                   .where = "/rope_parameters/rope_type",
                                                   .expected = "\"default\" or " + expert::quoted(E::rope::type),
                                                   .got = expert::quoted(config.rope.rope_type),
                                                   .fix = "Compile the expert with the rope policy of the checkpoint"});
  return found;
}

namespace detail {

// Element i of a tensor of any of the three dtypes, at any alignment.
inline float element(const TensorView& t, std::int64_t i) {
  if (t.dtype == DType::F32) {
    float x;
    std::memcpy(&x, t.data + 4 * i, 4);
    return x;
  }
  std::uint16_t bits;
  std::memcpy(&bits, t.data + 2 * i, 2);
  return t.dtype == DType::BF16 ? float(bf16::from_bits(bits)) : float(f16::from_bits(bits));
}

// Elements [first, first + count) of a tensor, into `to`, which is returned.
inline float* numbers_of(const TensorView& t, std::int64_t first, std::int64_t count, float* to) noexcept {
  for (std::int64_t i = 0; i < count; ++i) to[i] = element(t, first + i);
  return to;
}

}  // namespace detail

// The base model of an expert. Tensors stay where the file maps them when their dtype is usable as it is (f32 and bf16
// in Compute<f32>, bf16 in Compute<bf16>); the rest is converted, or quantised tensor by tensor, once at load, or once
// for all in a cache (io/cache_file.hpp).
template <class E>
class Weights {
 public:
  using M = typename E::model;
  using T = typename E::compute::type;

  const ModelView<E>& view() const { return view_; }
  const HfConfig& config() const { return config_; }
  const std::string& directory() const { return directory_; }
  // What became of the cache, as a line for the user; empty where none was asked for or nothing is quantised.
  const std::string& cache_note() const { return cache_note_; }
  // Bytes that do not lie in the mapped files.
  std::int64_t owned_bytes() const { return owned_bytes_; }

  // Every tensor as f32 into the layout of BaseLayout<E>, for full fine-tuning; not those that the checkpoint has in 4
  // bits.
  void copy_base(float* flat) const {
    for (const NamedSlice& slice : BaseLayout<E>::slices()) {
      const TensorView& tensor = *checkpoint_.find(slice.name);
      if (tensor.dtype == DType::U8) continue;
      for (std::int64_t i = 0; i < slice.size; ++i) flat[slice.offset + i] = detail::element(tensor, i);
    }
  }

 private:
  template <class E2>
  friend Weights<E2> load_weights(const std::string&, CpuDevice&, const Limits&, const std::string&);
  Weights(std::string directory, HfConfig config, Checkpoint checkpoint)
      : directory_(std::move(directory)), config_(std::move(config)), checkpoint_(std::move(checkpoint)) {}

  std::byte* own(std::int64_t bytes) {
    owned_.emplace_back(bytes);
    owned_bytes_ += bytes;
    return owned_.back().data();
  }
  const T* vector(const std::string& name) {
    const TensorView& t = *checkpoint_.find(name);
    T* out = reinterpret_cast<T*>(own(t.elements() * std::int64_t{sizeof(T)}));
    for (std::int64_t i = 0; i < t.elements(); ++i) out[i] = T(detail::element(t, i));
    return out;
  }
  // The tensor as f32 or bf16: mapped when it can be, else converted to the compute type.
  MatrixView matrix(Cpu& cpu, const std::string& name) {
    const TensorView& t = *checkpoint_.find(name);
    MatrixView view{.data = t.data, .out = t.shape[0], .in = t.shape[1]};
    const bool usable = t.dtype == DType::BF16 || (t.dtype == DType::F32 && std::is_same_v<T, float>);
    view.storage = t.dtype == DType::BF16 ? Storage::bf16 : Storage::f32;
    if (usable) return view;
    T* out = reinterpret_cast<T*>(own(t.elements() * std::int64_t{sizeof(T)}));
    parallel_pieces(cpu, t.elements(), std::int64_t{1} << 16, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t i = first; i < first + count; ++i) out[i] = T(detail::element(t, i));
    });
    view.data = out;
    view.storage = std::is_same_v<T, float> ? Storage::f32 : Storage::bf16;
    return view;
  }
  static constexpr bool quantised = E::quant::kind != WeightKind::as_checkpoint;
  static constexpr PackedMatrix packed_shape_of(Projection p) {
    using View = typename ModelView<E>::Projected;
    return packed_shape(View::format, out_features<M>(p), in_features<M>(p), E::quant::block_size);
  }
  // All projections behind each other, in the order of build().
  static constexpr std::int64_t packed_bytes() {
    std::int64_t bytes = 0;
    for (const Projection p : all_projections) bytes += packed_shape_of(p).packed_bytes();
    return bytes * M::num_hidden_layers;
  }
  // As the policy stores it, at packed_ + offset. Codes live beside the packed matrix for one matrix at a time.
  typename ModelView<E>::Projected projection(Cpu& cpu, const std::string& name, Projection p, std::int64_t& offset) {
    if constexpr (!quantised) {
      return matrix(cpu, name);
    } else {
      typename ModelView<E>::Projected view{packed_shape_of(p), out_features<M>(p), in_features<M>(p)};
      if (to_pack_ != nullptr) {
        pack(cpu, name, view.packed, to_pack_ + offset);
        checkpoint_.release(*checkpoint_.find(name));
      }
      view.packed.place(packed_ + offset);
      offset += view.packed.packed_bytes();
      return view;
    }
  }
  void pack(Cpu& cpu, const std::string& name, const PackedMatrix& packed, std::byte* to) const {
    const TensorView& t = *checkpoint_.find(name);
    const std::int64_t out = packed.out, in = packed.in;
    if constexpr (E::quant::kind == WeightKind::int8_rows) {
      const auto row_of = [&](std::int64_t i, float& absmax, int thread) noexcept {
        float* row = detail::numbers_of(t, i * in, in, cpu.op_workspace(thread));
        auto* codes = reinterpret_cast<std::int8_t*>(cpu.gemm_workspace(thread));
        reference::quantize_int8_row(row, in, codes, absmax);
        return codes;
      };
      pack_int8(cpu, packed, row_of, to);
    } else if constexpr (E::quant::kind == WeightKind::int4_affine) {
      constexpr std::int64_t group = E::quant::block_size;
      const auto group_of = [&](std::int64_t i, std::int64_t first, std::uint8_t* codes, float& scale, float& zero,
                                int thread) noexcept {
        const std::int64_t count = std::min(group, in - first);
        const float* w = detail::numbers_of(t, i * in + first, count, cpu.op_workspace(thread));
        reference::quantize_affine_group(w, count, codes, scale, zero);
      };
      pack_int4_affine(cpu, packed, group, group_of, to);
    } else {
      constexpr std::int64_t block = E::quant::block_size;
      if (t.dtype == DType::U8) {
        const SerialisedNf4 nf4 = checkpoint_.serialised_nf4(name, out, in, block);
        return pack_nf4(cpu, packed, nf4.codes, nf4.scales, block, to);
      }
      const std::int64_t n = out * in, blocks = (n + block - 1) / block;
      std::vector<std::uint8_t> codes(static_cast<std::size_t>((n + 1) / 2)),
          scale_codes(static_cast<std::size_t>(blocks));
      std::vector<float> absmax(static_cast<std::size_t>(blocks)),
          nested(static_cast<std::size_t>((blocks + nested_block_size - 1) / nested_block_size));
      parallel_pieces(cpu, blocks, 64, [&](std::int64_t first, std::int64_t count) {
        float values[block];
        for (std::int64_t b = first; b < first + count; ++b) {
          const std::int64_t begin = b * block, size = std::min(block, n - begin);
          reference::quantize_4bit_block(nf4_code, detail::numbers_of(t, begin, size, values), size,
                                         codes.data() + begin / 2, absmax[static_cast<std::size_t>(b)]);
        }
      });
      BlockScales scales{nullptr, scale_codes.data(), nested.data(), 0};
      reference::quantize_scales(absmax.data(), blocks, scale_codes.data(), nested.data(), scales.offset);
      pack_nf4(cpu, packed, codes.data(), scales, block, to);
    }
  }
  void build(Cpu& cpu) {
    view_.embed_tokens = matrix(cpu, "model.embed_tokens.weight");
    view_.lm_head = M::tie_word_embeddings ? view_.embed_tokens : matrix(cpu, "lm_head.weight");
    view_.norm = vector("model.norm.weight");
    std::int64_t offset = 0;  // of the next projection among the packed ones
    if constexpr (quantised)
      if (packed_ == nullptr) packed_ = to_pack_ = own(packed_bytes());
    for (std::int64_t l = 0; l < M::num_hidden_layers; ++l) {
      const std::string prefix = "model.layers." + std::to_string(l) + ".";
      auto& layer = view_.layers[static_cast<std::size_t>(l)];
      for (const Projection p : all_projections)
        layer.projections[index_of(p)] = projection(cpu, prefix + std::string(module_path(p)) + ".weight", p, offset);
      layer.input_layernorm = vector(prefix + "input_layernorm.weight");
      layer.post_attention_layernorm = vector(prefix + "post_attention_layernorm.weight");
      layer.q_norm = vector(prefix + "self_attn.q_norm.weight");
      layer.k_norm = vector(prefix + "self_attn.k_norm.weight");
    }
    checkpoint_.release();  // with a small tensor the system may have mapped 2 MiB of the file
  }

  // Takes the packed weights of a cache where they are whole; returns their key.
  std::string find_in_cache(const std::string& directory, ThreadPool& pool) {
    std::string key = weight_cache_key(
        checkpoint_,
        joined({E::quant::quantization, " ", static_cast<std::int64_t>(E::quant::kind), " ", E::quant::block_size}));
    const std::string path = cache_path(packed_weights, directory, key);
    if (!path_exists(path)) return key;
    try {
      cached_.push_back(open_cached_file(packed_weights, path, pool, packed_bytes()));
      packed_ = cached_bytes(cached_.back()).data();
      cache_note_ = joined({"base weights: packed before, from ", path});
    } catch (const Error& e) {
      ::unlink(path.c_str());
      cache_note_ = joined({"base weights: packed again, because ", e.what(), "; "});
    }
    return key;
  }

  std::string directory_;
  HfConfig config_;
  Checkpoint checkpoint_;
  ModelView<E> view_;
  std::vector<MappedFile> cached_;  // none or one
  const std::byte* packed_ = nullptr;
  std::byte* to_pack_ = nullptr;  // the same, while it is to be filled
  std::string cache_note_;
  std::vector<AlignedBytes> owned_;
  std::int64_t owned_bytes_ = 0;
};

// Throws the first of the errors that it finds (23x, 22x, 20x, 21x); check_model lists all of them. `finite` unset
// leaves out the test that reads every number.
template <class E>
std::vector<Error> check_model(const HfConfig& config, const Checkpoint& checkpoint, const std::string& config_file,
                               bool finite = true) {
  std::vector<Error> found = check_config<E>(config, config_file);
  if (found.empty())
    found = check_tensors(checkpoint, model_tensors<typename E::model>(),
                          E::quant::kind == WeightKind::nf4 ? E::quant::block_size : 0);
  if (found.empty() && finite) found = check_finite(checkpoint);
  return found;
}

// cache_directory: where packed weights are looked for and kept; empty: nowhere. What lies there was made from numbers
// that were found finite, so they are not read again.
template <class E>
Weights<E> load_weights(const std::string& directory, CpuDevice& device, const Limits& limits = default_limits,
                        const std::string& cache_directory = {}) {
  const std::string config_file = path_in(directory, "config.json");
  HfConfig config = read_hf_config(config_file, limits);
  Weights<E> weights(directory, std::move(config), Checkpoint::open(directory, limits));
  Cpu cpu = device.cpu();
  const bool cache = Weights<E>::quantised && !cache_directory.empty();
  std::string key;
  if constexpr (Weights<E>::quantised)
    if (cache) key = weights.find_in_cache(cache_directory, *cpu.pool);
  const bool found_there = weights.packed_ != nullptr;
  const std::vector<Error> found = check_model<E>(weights.config_, weights.checkpoint_, config_file, !found_there);
  if (!found.empty()) throw found.front();
  weights.build(cpu);
  if constexpr (Weights<E>::quantised)
    if (cache && !found_there)
      weights.cache_note_ += keep_in_cache(packed_weights, cache_directory, key,
                                           {weights.packed_, static_cast<std::size_t>(weights.packed_bytes())},
                                           *cpu.pool, "base weights: packed");
  return weights;
}

// Points every weight of the view into a flat array in the layout of BaseLayout<E>: the base of full fine-tuning.
template <class E>
void bind_base(ModelView<E>& view, const typename E::compute::type* flat) noexcept {
  using M = typename E::model;
  using B = BaseLayout<E>;
  using T = typename E::compute::type;
  constexpr Storage storage = std::is_same_v<T, float> ? Storage::f32 : Storage::bf16;
  const auto matrix = [&](std::int64_t offset, std::int64_t out, std::int64_t in) {
    return MatrixView{.data = flat + offset, .out = out, .in = in, .storage = storage};
  };
  view.embed_tokens = matrix(B::embed_tokens, M::vocab_size, M::hidden_size);
  view.lm_head = matrix(B::lm_head, M::vocab_size, M::hidden_size);
  view.norm = flat + B::norm;
  for (std::int64_t l = 0; l < M::num_hidden_layers; ++l) {
    auto& layer = view.layers[static_cast<std::size_t>(l)];
    for (const Projection p : all_projections)
      if constexpr (E::quant::kind == WeightKind::as_checkpoint)
        layer.projections[index_of(p)] = matrix(B::at(l, p), out_features<M>(p), in_features<M>(p));
    layer.input_layernorm = flat + B::input_layernorm(l);
    layer.post_attention_layernorm = flat + B::post_attention_layernorm(l);
    layer.q_norm = flat + B::q_norm(l);
    layer.k_norm = flat + B::k_norm(l);
  }
}

}  // namespace v0
}  // namespace expert
