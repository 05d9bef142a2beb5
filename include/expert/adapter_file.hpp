// 8. Adapter parameters <-> a PEFT directory (adapter_config.json, adapter_model.safetensors); a trained or merged base
// -> a Hugging Face directory.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "expert/core/config.hpp"
#include "expert/core/error.hpp"
#include "expert/core/limits.hpp"
#include "expert/core/sort.hpp"
#include "expert/forward.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/io/files.hpp"
#include "expert/io/mapped_file.hpp"
#include "expert/io/peft_config.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/json/json.hpp"
#include "expert/plan/memory.hpp"
#include "expert/weights.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode adapter_config_differs{266, "the adapter is not the one that this expert was compiled for"};
inline constexpr ErrorCode adapter_tensors_differ{267, "the tensors of the adapter are not those of the expert"};

// What adapter_config.json says of this expert's adapter.
template <class E>
PeftConfig peft_config_of(const std::string& base_model_name_or_path, double dropout = 0) {
  using A = typename E::adapter;
  PeftConfig config;
  config.r = A::r;
  config.lora_alpha = static_cast<double>(A::alpha);
  config.lora_dropout = dropout;
  config.use_dora = A::is_dora;
  config.use_rslora = A::rank_stabilized;
  config.base_model_name_or_path = base_model_name_or_path;
  for (const Projection p : all_projections)
    if (A::targets(p)) config.target_modules.emplace_back(name_of(p));
  sort_texts(config.target_modules);
  return config;
}

// Every difference between a PEFT directory and this expert: configuration, then presence, shape and finiteness of each
// tensor.
template <class E>
std::vector<Error> check_adapter(const PeftConfig& config, const SafetensorsFile& file,
                                 const std::string& config_file) {
  std::vector<Error> found;
  const PeftConfig compiled = peft_config_of<E>({});
  const auto compare = [&](const char* key, const std::string& in_file, const std::string& expected) {
    if (in_file != expected)
      found.emplace_back(
          adapter_config_differs,
          ErrorDetail{.file = config_file,
                      .where = std::string("/") + key,
                      .expected = expected,
                      .got = in_file,
                      .fix = "Load the adapter of this expert, or compile the adapter policy that it was made with"});
  };
  const auto list = [](const std::vector<std::string>& names) {
    std::string s;
    for (const std::string& n : names) s += (s.empty() ? "" : " ") + n;
    return s;
  };
  compare("r", std::to_string(config.r), std::to_string(compiled.r));
  compare("lora_alpha", std::to_string(config.lora_alpha), std::to_string(compiled.lora_alpha));
  compare("use_dora", config.use_dora ? "true" : "false", compiled.use_dora ? "true" : "false");
  compare("use_rslora", config.use_rslora ? "true" : "false", compiled.use_rslora ? "true" : "false");
  compare("target_modules", list(config.target_modules), list(compiled.target_modules));
  if (!found.empty()) return found;

  const auto refuse = [&](const std::string& where, std::string expected, std::string got) {
    found.emplace_back(adapter_tensors_differ,
                       ErrorDetail{.file = file.name(),
                                   .where = where,
                                   .expected = std::move(expected),
                                   .got = std::move(got),
                                   .fix = "Save the adapter again, all layers and targets, as f32, bf16 or f16"});
  };
  const std::vector<NamedSlice> slices = AdapterLayout<E>::slices();
  for (const NamedSlice& slice : slices) {
    const TensorView* t = file.find(slice.name);
    if (t == nullptr) {
      refuse(slice.name, "the tensor", "none");
    } else if (t->shape != slice.shape) {
      refuse(slice.name, shape_text(slice.shape), shape_text(t->shape));
    } else if (t->dtype != DType::F32 && t->dtype != DType::BF16 && t->dtype != DType::F16) {
      refuse(slice.name, "F32, BF16 or F16", std::string(name_of(t->dtype)));
    } else {
      for (std::int64_t i = 0; i < t->elements(); ++i)
        if (!std::isfinite(detail::element(*t, i))) {
          refuse(slice.name + ", element " + std::to_string(i), "a finite number", "NaN or infinity");
          break;
        }
    }
  }
  for (const TensorView& t : file.tensors())
    if (std::none_of(slices.begin(), slices.end(), [&](const NamedSlice& s) { return s.name == t.name; }))
      refuse(expert::quoted(t.name), "no such tensor", "one");
  return found;
}

// Flat parameters in the layout of AdapterLayout<E>. Throws the first error of check_adapter, and 20x to 22x, 26x.
template <class E>
std::vector<float> load_adapter(const std::string& directory, const Limits& limits = default_limits) {
  const std::string config_file = path_in(directory, "adapter_config.json");
  const PeftConfig config = read_peft_config(config_file, limits);
  const SafetensorsFile file(path_in(directory, "adapter_model.safetensors"), limits);
  const std::vector<Error> found = check_adapter<E>(config, file, config_file);
  if (!found.empty()) throw found.front();
  std::vector<float> values(static_cast<std::size_t>(AdapterLayout<E>::size));
  for (const NamedSlice& slice : AdapterLayout<E>::slices()) {
    const std::vector<float> x = file.find(slice.name)->to_f32();
    std::copy(x.begin(), x.end(), values.begin() + slice.offset);
  }
  return values;
}

namespace detail {
template <class T>
std::vector<TensorData> tensors_to_write(const std::vector<NamedSlice>& slices, const T* values) {
  constexpr DType dtype = std::is_same_v<T, float> ? DType::F32 : DType::BF16;
  std::vector<TensorData> tensors;
  for (const NamedSlice& s : slices)
    tensors.push_back(
        {s.name, dtype, s.shape, std::as_bytes(std::span(values + s.offset, static_cast<std::size_t>(s.size)))});
  return tensors;
}
}  // namespace detail

// Writes both files (f32), each whole or not at all; the directory is made. PEFT loads it with
// PeftModel.from_pretrained.
template <class E>
void save_adapter(const float* values, const std::string& directory, const std::string& base_model_name_or_path,
                  double dropout = 0) {
  make_directories(directory);
  write_safetensors(path_in(directory, "adapter_model.safetensors"),
                    detail::tensors_to_write(AdapterLayout<E>::slices(), values), {{"format", "pt"}});
  write_peft_config(path_in(directory, "adapter_config.json"), peft_config_of<E>(base_model_name_or_path, dropout));
}

// Writes a base in the layout of BaseLayout<E>, rounded to Stored (float or bf16), beside copies of `source`'s
// config.json (its dtype set to that), generation_config.json and tokenizer files.
template <class E, class Stored = float>
void save_model(const float* values, const std::string& directory, const std::string& source,
                const Limits& limits = default_limits) {
  make_directories(directory);
  Json config = read_json(path_in(source, "config.json"), limits.config_bytes, limits);
  constexpr bool rounds = !std::is_same_v<Stored, float>;
  if (config.find("quantization_config") != nullptr) config.set("quantization_config", Json());
  config.set(config.find("torch_dtype") != nullptr ? "torch_dtype" : "dtype", rounds ? "bfloat16" : "float32");
  std::vector<Stored> rounded;
  const Stored* stored;
  if constexpr (rounds) {
    rounded.assign(values, values + BaseLayout<E>::size);
    stored = rounded.data();
  } else {
    stored = values;
  }
  write_safetensors(path_in(directory, "model.safetensors"), detail::tensors_to_write(BaseLayout<E>::slices(), stored),
                    {{"format", "pt"}});
  write_file(path_in(directory, "config.json"), config.dump(2) + "\n");
  for (const char* name : {"generation_config.json", "tokenizer.json", "tokenizer_config.json"})
    if (path_exists(path_in(source, name))) {
      const MappedFile file(path_in(source, name));
      write_file(path_in(directory, name), {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
    }
}

// Base weights with the adapter folded in, in the layout of BaseLayout<E>: PEFT's merge_and_unload, in f32.
//   W' = c (W + s B A),  c = m / ||W + s B A|| for DoRA, else 1
template <class E>
std::vector<float> merge_adapter(CpuDevice& device, const Weights<E>& weights, std::span<const float> adapter) {
  using A = typename E::adapter;
  Cpu cpu = device.cpu();
  std::vector<float> merged(static_cast<std::size_t>(BaseLayout<E>::size));
  weights.copy_base(merged.data());
  std::vector<float> unpacked(static_cast<std::size_t>(detail::Sizes<E>::max_matrix));
  for (std::int64_t l = 0; l < E::model::num_hidden_layers; ++l)
    for (const Projection p : all_projections) {
      // A quantised base is merged as it was trained on: dequantised.
      detail::with_weight(cpu, weights.view().layers[static_cast<std::size_t>(l)][p], unpacked.data(),
                          [&](const auto* values) noexcept {
                            const std::int64_t n =
                                in_features<typename E::model>(p) * out_features<typename E::model>(p);
                            if (E::quant::kind != WeightKind::as_checkpoint)
                              std::copy_n(values, n, merged.data() + BaseLayout<E>::at(l, p));
                          });
      if (!A::targets(p)) continue;
      const auto at = AdapterLayout<E>::at(l, p);
      const std::int64_t out = out_features<typename E::model>(p), in = in_features<typename E::model>(p);
      float* w = merged.data() + BaseLayout<E>::at(l, p);
      gemm(cpu, Trans::no, Trans::no, out, in, A::r, static_cast<float>(A::scaling()), adapter.data() + at.b, A::r,
           adapter.data() + at.a, in, 1.0f, w, in);
      if constexpr (A::is_dora)
        for (std::int64_t i = 0; i < out; ++i) {
          double square = 0;
          for (std::int64_t j = 0; j < in; ++j) square += double{w[i * in + j]} * double{w[i * in + j]};
          const float c = adapter[static_cast<std::size_t>(at.magnitude + i)] / static_cast<float>(std::sqrt(square));
          for (std::int64_t j = 0; j < in; ++j) w[i * in + j] *= c;
        }
    }
  return merged;
}

}  // namespace v0
}  // namespace expert
