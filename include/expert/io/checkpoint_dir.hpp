// A Hugging Face model directory -> its tensors, from model.safetensors or from the shards of
// model.safetensors.index.json; and the checks of presence, shape, dtype and finiteness, which list every problem
// instead of the first.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/dtype.hpp"
#include "expert/core/error.hpp"
#include "expert/core/limits.hpp"
#include "expert/core/sort.hpp"
#include "expert/io/files.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/io/serialised_nf4.hpp"
#include "expert/json/json.hpp"
#include "expert/plan/tensors.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode model_files{235, "the files of a model directory are not usable"};
inline constexpr ErrorCode tensors_differ{236, "the tensors of a checkpoint are not those of the model"};
inline constexpr ErrorCode tensor_not_finite{237, "a tensor holds NaN or infinity"};

// The open files of one model. Views stay valid while it lives, also when it is moved.
class Checkpoint {
 public:
  // Throws E20x, E21x, E22x, and E235 where the directory has no or two sets of weights or its index is wrong. Pickles
  // (*.bin, *.pt, ...) are never opened.
  static Checkpoint open(const std::string& directory, const Limits& limits = default_limits) {
    if (!is_directory(directory))
      fail(directory, {}, "a model directory", path_exists(directory) ? "a file" : system_message(errno),
           "Name the directory of config.json");
    const std::string single = path_in(directory, "model.safetensors"),
                      index = path_in(directory, "model.safetensors.index.json");
    const bool has_single = path_exists(single), has_index = path_exists(index);
    if (has_single && has_index)
      fail(directory, {}, "model.safetensors or model.safetensors.index.json", "both",
           "Remove the one that is not the model");
    if (!has_single && !has_index) refuse_without_weights(directory);
    Checkpoint checkpoint;
    if (has_single) {
      checkpoint.files_.emplace_back(single, limits);
    } else {
      checkpoint.open_shards(directory, index, limits);
    }
    checkpoint.sort_views();
    return checkpoint;
  }

  const std::vector<const TensorView*>& tensors() const noexcept { return views_; }  // by name
  const TensorView* find(std::string_view name) const {
    const auto at = std::lower_bound(views_.begin(), views_.end(), name,
                                     [](const TensorView* view, std::string_view n) { return view->name < n; });
    return at != views_.end() && (*at)->name == name ? *at : nullptr;
  }
  const std::vector<SafetensorsFile>& files() const noexcept { return files_; }
  // The path of the file that holds it, for messages.
  std::string file_of(const TensorView& tensor) const {
    for (const SafetensorsFile& file : files_)
      if (file.find(tensor.name)) return file.name();
    return {};
  }
  void release() const noexcept {
    for (const SafetensorsFile& file : files_) file.release();
  }
  void release(const TensorView& tensor) const noexcept {
    for (const SafetensorsFile& file : files_)
      if (file.find(tensor.name)) file.release(tensor);
  }
  // A matrix (out, in) in bitsandbytes' NF4. Throws E239.
  SerialisedNf4 serialised_nf4(const std::string& name, std::int64_t out, std::int64_t in, std::int64_t block) const {
    const TensorView* tensor = find(name);
    return read_serialised_nf4([this](const std::string& part) { return find(part); },
                               tensor != nullptr ? file_of(*tensor) : this->name(), name, out, in, block);
  }
  // All files, for messages: the file, or the directory of the shards.
  std::string name() const { return files_.size() == 1 ? files_[0].name() : parent_of(files_[0].name()); }

 private:
  [[noreturn]] static void fail(const std::string& file, std::string where, std::string expected, std::string got,
                                std::string fix = "") {
    throw Error(model_files, {.file = file,
                              .where = std::move(where),
                              .expected = std::move(expected),
                              .got = std::move(got),
                              .fix = std::move(fix)});
  }

  // By name only: nothing is opened to find out.
  static bool is_pickle(std::string_view file) {
    constexpr std::array<std::string_view, 6> extensions{".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"};
    return std::find(extensions.begin(), extensions.end(), extension_of(file)) != extensions.end();
  }

  [[noreturn]] static void refuse_without_weights(const std::string& directory) {
    std::string pickle;
    bool adapter = false;
    for (const std::string& name : names_in(directory)) {
      if (is_pickle(name)) pickle = name;
      adapter |= name == "adapter_model.safetensors";
    }
    const std::string expected = "model.safetensors or model.safetensors.index.json";
    if (!pickle.empty())
      fail(directory, {}, expected, "only " + expert::quoted(pickle),
           "Save the model as safetensors: a pickle can run code when it is read, so none is ever opened");
    if (adapter) fail(directory, {}, expected, "an adapter", "Name the directory of the base model");
    fail(directory, {}, expected, "neither");
  }

  // Names are checked before any shard is opened: an index may not reach outside its directory. Then index and shards
  // must agree in both directions, so that no tensor is lost or taken from the wrong shard.
  void open_shards(const std::string& directory, const std::string& index, const Limits& limits) {
    const Json json = read_json(index, limits.index_bytes, limits);
    const Json* map = json.find("weight_map");
    if (!map || !map->is_object() || map->members().empty())
      fail(index, "/weight_map", "an object {tensor: shard}",
           !map               ? "none"
           : map->is_object() ? "an empty one"
                              : map->described());
    Json shards = Json::object();  // file name -> its place in files_
    for (const auto& [tensor, shard] : map->members()) {
      const std::string where = "/weight_map, tensor " + expert::quoted(tensor, 200);
      if (!shard.is_string()) fail(index, where, "the name of a shard", shard.described());
      const std::string& name = shard.as_string();
      if (is_pickle(name))
        fail(index, where, "a safetensors file", expert::quoted(name), "Pickles can run code and are never opened");
      if (extension_of(name) != ".safetensors" || name.find_first_of("/\\") != name.npos ||
          name.find('\0') != name.npos)
        fail(index, where, "the name of a .safetensors file in the same directory", expert::quoted(name));
      if (!shards.find(name)) shards.set(name, 0);
    }
    std::vector<std::string> names;
    for (const auto& [name, place] : shards.members()) names.push_back(name);
    sort_texts(names);
    for (const std::string& name : names) {
      shards.set(name, files_.size());
      files_.emplace_back(path_in(directory, name), limits);
    }
    for (const auto& [tensor, shard] : map->members())
      if (!files_[static_cast<std::size_t>(shards.find(shard.as_string())->as_int())].find(tensor))
        fail(index, "/weight_map, tensor " + expert::quoted(tensor, 200), "it in " + expert::quoted(shard.as_string()),
             "no such tensor there");
    std::int64_t bytes = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::string& name = names[i];
      for (const TensorView& tensor : files_[i].tensors()) {
        const Json* mapped = map->find(tensor.name);
        if (!mapped || mapped->as_string() != name)
          fail(path_in(directory, name), "tensor " + expert::quoted(tensor.name, 200),
               "it in the index as part of this shard",
               mapped ? "there as part of " + expert::quoted(mapped->as_string()) : "no such tensor there");
        bytes += tensor.bytes;
      }
    }
    const Json* total = json.at_pointer("/metadata/total_size");
    if (total && !(total->is_integer() && total->as_int() == bytes))
      fail(index, "/metadata/total_size", std::to_string(bytes) + ", the bytes of all tensors", total->described());
  }

  void sort_views() {
    for (const SafetensorsFile& file : files_)
      for (const TensorView& tensor : file.tensors()) views_.push_back(&tensor);
    sort_list(views_, [](const TensorView* a, const TensorView* b) { return a->name < b->name; });
  }

  std::vector<SafetensorsFile> files_;
  std::vector<const TensorView*> views_;
};

// Everything that is missing, too much, of another shape, or of a dtype other than F32, BF16, F16; where nf4_block is
// not 0, matrices may be in bitsandbytes' NF4 with such blocks. Allowed beyond `specs`: a stored lm_head.weight of a
// tied model if it is bit-equal to the embedding, and rotary_emb.inv_freq buffers, which old versions of transformers
// saved and new ones compute.
inline std::vector<Error> check_tensors(const Checkpoint& checkpoint, std::span<const TensorSpec> specs,
                                        std::int64_t nf4_block = 0) {
  std::vector<Error> found;
  const auto report = [&](const std::string& file, const std::string& name, std::string expected, std::string got,
                          std::string fix = "") {
    found.emplace_back(tensors_differ, ErrorDetail{.file = file,
                                                   .where = "tensor " + expert::quoted(name, 200),
                                                   .expected = std::move(expected),
                                                   .got = std::move(got),
                                                   .fix = std::move(fix)});
  };
  Json known = Json::object();
  for (const TensorSpec& spec : specs) {
    known.set(spec.name, true);
    const TensorView* tensor = checkpoint.find(spec.name);
    if (!tensor) {
      report(checkpoint.name(), spec.name, shape_text(spec.shape), "no such tensor",
             spec.name == "lm_head.weight" ? "If the head is the embedding, config.json must say tie_word_embeddings"
                                           : "");
      continue;
    }
    if (nf4_block > 0 && tensor->dtype == DType::U8 && spec.shape.size() == 2) {
      for (const std::string_view part : serialised_nf4_parts) known.set(spec.name + std::string(part), true);
      try {
        checkpoint.serialised_nf4(spec.name, spec.shape[0], spec.shape[1], nf4_block);
      } catch (const Error& e) {
        found.push_back(e);
      }
      continue;
    }
    if (tensor->shape != spec.shape)
      report(checkpoint.file_of(*tensor), spec.name, "shape " + shape_text(spec.shape), shape_text(tensor->shape));
    if (tensor->dtype != DType::F32 && tensor->dtype != DType::BF16 && tensor->dtype != DType::F16)
      report(checkpoint.file_of(*tensor), spec.name, "F32, BF16 or F16", std::string(name_of(tensor->dtype)));
  }
  for (const TensorView* tensor : checkpoint.tensors()) {
    if (known.find(tensor->name) || tensor->name.ends_with("rotary_emb.inv_freq")) continue;
    if (tensor->name == "lm_head.weight") {
      const TensorView* embedding = checkpoint.find("model.embed_tokens.weight");
      const bool equal = embedding && embedding->dtype == tensor->dtype && embedding->shape == tensor->shape &&
                         std::memcmp(embedding->data, tensor->data, static_cast<std::size_t>(tensor->bytes)) == 0;
      if (!equal)
        report(checkpoint.file_of(*tensor), tensor->name,
               "the bytes of model.embed_tokens.weight, because tie_word_embeddings is true", "others",
               "Set tie_word_embeddings to false, or remove the tensor");
      continue;
    }
    report(checkpoint.file_of(*tensor), tensor->name, "only the tensors of the model", "one more");
  }
  return found;
}

namespace detail {

// Index of the first element whose exponent bits are all ones, or -1. Whole blocks are tested without a branch inside.
template <class Bits, Bits Exponent, class T>
std::int64_t first_not_finite(std::span<const T> values) {
  constexpr std::size_t block = 4096;
  const auto is_bad = [&](std::size_t i) { return (std::bit_cast<Bits>(values[i]) & Exponent) == Exponent; };
  for (std::size_t begin = 0; begin < values.size(); begin += block) {
    unsigned bad = 0;
    if (begin + block <= values.size()) {
      for (std::size_t i = 0; i < block; ++i) bad |= unsigned{is_bad(begin + i)};
    } else {
      bad = 1;
    }
    if (bad == 0) continue;
    for (std::size_t i = begin; i < std::min(begin + block, values.size()); ++i)
      if (is_bad(i)) return static_cast<std::int64_t>(i);
  }
  return -1;
}

}  // namespace detail

// One error for each tensor with NaN or infinity, with the place of the first. Reads every float of the checkpoint
// once.
inline std::vector<Error> check_finite(const Checkpoint& checkpoint) {
  std::vector<Error> found;
  for (const TensorView* tensor : checkpoint.tensors()) {
    std::int64_t at = -1;
    if (tensor->dtype == DType::F32) at = detail::first_not_finite<std::uint32_t, 0x7f800000u>(tensor->as<float>());
    if (tensor->dtype == DType::BF16)
      at = detail::first_not_finite<std::uint16_t, std::uint16_t{0x7f80}>(tensor->as<bf16>());
    if (tensor->dtype == DType::F16)
      at = detail::first_not_finite<std::uint16_t, std::uint16_t{0x7c00}>(tensor->as<f16>());
    checkpoint.release(*tensor);
    if (at < 0) continue;
    std::vector<std::int64_t> place(tensor->shape.size());
    for (std::size_t d = place.size(), rest = static_cast<std::size_t>(at); d-- > 0;) {
      place[d] = static_cast<std::int64_t>(rest % static_cast<std::size_t>(tensor->shape[d]));
      rest /= static_cast<std::size_t>(tensor->shape[d]);
    }
    found.emplace_back(tensor_not_finite,
                       ErrorDetail{.file = checkpoint.file_of(*tensor),
                                   .where = "tensor " + expert::quoted(tensor->name, 200) + ", element " +
                                            std::to_string(at) + " at " + shape_text(place),
                                   .expected = "finite numbers",
                                   .got = "NaN or infinity",
                                   .fix = "The checkpoint is damaged or its training diverged: use another"});
  }
  return found;
}

}  // namespace v0
}  // namespace expert
