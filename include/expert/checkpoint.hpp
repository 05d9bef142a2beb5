// A trainer between two steps <-> checkpoint-N/ with the names of transformers and PEFT: parameters, both moments, the
// state of the run, and what the run depends on. A run that goes on from it has the bits of one that was never stopped.
//
//   adapter_model.safetensors, adapter_config.json   or model.safetensors, config.json, ... under FullFineTune
//   adapter_parameters.safetensors   what an adapter with parameters of its own trains; the two above hold the LoRA
//   that
//                                    it equals
//   optimizer.safetensors    exp_avg.NAME and exp_avg_sq.NAME for each trained tensor, f32
//   trainer_state.json       io/training_state.hpp
//   checkpoint.json          sizes and hashes of the others, and RunItems (io/run_directory.hpp)
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "expert/adapter_file.hpp"
#include "expert/core/config.hpp"
#include "expert/core/error.hpp"
#include "expert/io/run_directory.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/io/sha256.hpp"
#include "expert/io/training_state.hpp"
#include "expert/manifest.hpp"
#include "expert/policy/loss.hpp"
#include "expert/tokens.hpp"
#include "expert/trainer.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode run_differs{271, "the run is not the one that the checkpoint belongs to"};

inline constexpr std::int64_t training_state_bytes = std::int64_t{256} << 20;

// One thing that the numbers of a run depend on.
struct RunItem {
  enum class Effect : std::uint8_t {
    numbers,  // another value makes another run: resuming is refused
    bits,     // another value may round differently: resuming says so
    derived   // follows from others: named only where none of them differs
  };
  std::string name;
  Json value;
  Effect effect = Effect::numbers;
};
using RunItems = std::vector<RunItem>;

// The content of a file, whatever its name is. Throws E200, E201.
inline RunItem file_item(std::string name, const std::string& path) { return {std::move(name), sha256_file(path)}; }

// The tensors of a model directory, in whatever files they lie. Throws what Checkpoint::open throws.
inline RunItem base_item(const std::string& model_directory) {
  const Checkpoint checkpoint = Checkpoint::open(model_directory);
  Sha256 hash;
  for (const TensorView* tensor : checkpoint.tensors()) {
    std::string head = tensor->name;
    head.append("\n").append(name_of(tensor->dtype)).append(shape_text(tensor->shape)).append("\n");
    hash.update(head);
    hash.update(std::span(tensor->data, static_cast<std::size_t>(tensor->bytes)));
  }
  return {"base", hash.hex()};
}

// Tokens and loss mask of every row.
inline std::string rows_hash(const Documents& documents) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(documents.begin)));
  hash.update(std::as_bytes(std::span(documents.input_ids)));
  hash.update(std::as_bytes(std::span(documents.bears_loss)));
  return hash.hex();
}

namespace detail {

// Every policy that training reads, as "adapter r", "packing max_seq_length", ...
template <class E>
void add_policies(RunItems& items) {
  constexpr std::string_view unread[] = {"head", "grammar", "validation", "kv", "decode_batches", "budget"};
  for (const DescribedPolicy& policy : describe<E>()) {
    if (std::find(std::begin(unread), std::end(unread), policy.slot) != std::end(unread)) continue;
    for (const Field& field : policy.fields) {
      if (field.presence == Presence::if_present) continue;  // a second statement of another field
      std::string name = policy.slot + " ";
      name += field.pointer.substr(field.pointer.find_last_of('/') + 1);
      items.push_back({std::move(name), to_json(field.value)});
    }
  }
  items.push_back({"tuning trains_base", Json(bool{E::tuning::trains_base})});
  items.push_back({"loss chunk_rows", E::loss::chunk_rows, RunItem::Effect::bits});
  if (loss_vocab_rows<typename E::loss> > 0)
    items.push_back({"loss vocab_rows", loss_vocab_rows<typename E::loss>, RunItem::Effect::bits});
}

inline std::string compiler_name() {
#if defined(__clang__)
  return std::string("clang ") + __clang_version__;
#else
  return std::string("g++ ") + __VERSION__;
#endif
}

inline std::string shown_item(const Json* value) {
  if (value == nullptr) return "(absent)";
  if (value->is_number() || value->is_bool()) return value->dump();
  const std::string text = value->is_string() ? value->as_string() : value->dump();
  const bool hash = text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
  return hash ? text.substr(0, 12) + "..." : expert::quoted(text, 80);
}

}  // namespace detail

// What decides the numbers of a run of this trainer on this data. A caller appends what it read: file_item("data", ..),
// file_item("tokenizer", ..), base_item(..). `total_steps` counts only where the learning rate depends on it, so that a
// run at a constant rate may be made longer.
template <class E>
RunItems run_items(const Trainer<E>& trainer, const TrainingData& data, const OptimizerOptions& o,
                   std::int64_t total_steps) {
  using enum RunItem::Effect;
  RunItems items;
  detail::add_policies<E>(items);
  const TrainerOptions& options = trainer.options();
  const bool has_warmup = o.lr_scheduler != LrScheduler::constant && o.warmup_steps == 0 && o.warmup_ratio > 0;
  const bool decays = o.lr_scheduler == LrScheduler::linear || o.lr_scheduler == LrScheduler::cosine;
  items.push_back({"seed", options.seed});
  items.push_back({"data_seed", data.options().seed});
  items.push_back({"row path", name_of(data.path())});
  items.push_back({"shuffled", data.options().shuffled});
  if (data.options().group_by_length) items.push_back({"group_by_length", true});
  if (data.options().streaming) items.push_back({"streaming", true});
  items.push_back({"batch_size", data.batch_size()});
  items.push_back({"gradient_accumulation_steps", data.gradient_accumulation_steps()});
  items.push_back({"dropout", options.dropout});
  items.push_back({"learning_rate", o.learning_rate});
  items.push_back({"lr_scheduler", lr_scheduler_names[static_cast<std::size_t>(o.lr_scheduler)]});
  items.push_back({"warmup_steps", o.warmup_steps});
  items.push_back({"warmup_ratio", o.warmup_ratio});
  items.push_back({"max_steps", has_warmup || decays ? Json(total_steps) : Json("any")});
  items.push_back({"weight_decay", o.weight_decay});
  items.push_back({"max_grad_norm", o.max_grad_norm});
  items.push_back({"adam_beta1", o.beta1});
  items.push_back({"adam_beta2", o.beta2});
  items.push_back({"adam_epsilon", o.epsilon});
  items.push_back({"rows", rows_hash(data.data().documents), derived});
  items.push_back({"device", "cpu", bits});
  items.push_back({"isa", name_of(trainer.cpu().isa), bits});
  items.push_back({"threads", trainer.cpu().pool->size(), bits});
  items.push_back({"tokens_at_once", trainer.tokens_at_once(), bits});
  items.push_back({"compiler", detail::compiler_name(), bits});
  std::string version = std::to_string(version_major);
  version.append(".").append(std::to_string(version_minor)).append(".").append(std::to_string(version_patch));
  items.push_back({"library", std::move(version), bits});
  return items;
}

inline Json to_json(const RunItems& items) {
  Json json = Json::object();
  for (const RunItem& item : items) json.set(item.name, item.value);
  return json;
}

// One line where the bits may differ from those of the uninterrupted run, else "". Throws E271 with every item that
// makes it another run.
inline std::string compare_runs(const RunItems& now, const SavedCheckpoint& checkpoint) {
  using enum RunItem::Effect;
  std::string names, then_text, now_text, bits_text;
  bool threads_only = true;
  const auto differs = [&](const std::string& name, const Json* before, const Json* after) {
    names.append(names.empty() ? "" : ", ").append(name);
    then_text.append(then_text.empty() ? "" : ", ").append(name).append(" ").append(detail::shown_item(before));
    now_text.append(now_text.empty() ? "" : ", ").append(name).append(" ").append(detail::shown_item(after));
  };
  const auto compare = [&](RunItem::Effect effect) {
    for (const RunItem& item : now) {
      const Json* before = checkpoint.run.find(item.name);
      if (item.effect != effect || (before && before->dump() == item.value.dump())) continue;
      if (effect == bits) {
        threads_only = threads_only && item.name == "threads";
        bits_text.append(bits_text.empty() ? "" : ", ").append(item.name).append(" ");
        bits_text.append(detail::shown_item(before)).append(" -> ").append(detail::shown_item(&item.value));
      } else {
        differs(item.name, before, &item.value);
      }
    }
  };
  compare(numbers);
  for (const auto& member : checkpoint.run.members())
    if (std::none_of(now.begin(), now.end(), [&](const RunItem& item) { return item.name == member.first; }))
      differs(expert::quoted(member.first), &member.second, nullptr);
  if (names.empty()) compare(derived);
  if (!names.empty())
    throw Error(run_differs, {.file = checkpoint.path,
                              .where = std::move(names),
                              .expected = std::move(then_text),
                              .got = std::move(now_text),
                              .fix = "Give what the run began with, or start a new run in another directory"});
  compare(bits);
  if (bits_text.empty()) return {};
  bits_text.insert(0, "not bit-identical: ");
  if (threads_only) bits_text += " (all the same the same bits are expected: work is split over outputs only)";
  return bits_text;
}

namespace detail {

template <class E>
std::string parameters_file() {
  if constexpr (E::tuning::trains_base) {
    return "model.safetensors";
  } else {
    return slots::HasOwnParameters<typename E::adapter> ? "adapter_parameters.safetensors"
                                                        : "adapter_model.safetensors";
  }
}

// What the file holds for these slices, bit by bit as they lie in memory; E275 where it is something else.
inline void require_written(const std::string& path, const std::vector<TensorData>& tensors) {
  const SafetensorsFile file(path);
  for (const TensorData& tensor : tensors) {
    const TensorView* view = file.find(tensor.name);
    if (view == nullptr || view->dtype != tensor.dtype || std::cmp_not_equal(view->bytes, tensor.bytes.size()) ||
        (view->bytes > 0 && std::memcmp(view->data, tensor.bytes.data(), tensor.bytes.size()) != 0))
      throw Error(written_differs, {.file = path,
                                    .where = "tensor " + expert::quoted(tensor.name, 200),
                                    .fix = "Check the disk; the checkpoints before are untouched"});
  }
}

// Into the flat array of the slices. Throws E274 where a tensor is missing or of another form.
inline void read_slices(const std::string& path, const std::string& prefix, const std::vector<NamedSlice>& slices,
                        float* values) {
  const SafetensorsFile file(path);
  for (const NamedSlice& slice : slices) {
    const TensorView* view = file.find(prefix + slice.name);
    if (view == nullptr || view->dtype != DType::F32 || view->shape != slice.shape)
      throw Error(checkpoint_damaged, {.file = path,
                                       .where = "tensor " + expert::quoted(prefix + slice.name, 200),
                                       .expected = "F32 " + shape_text(slice.shape),
                                       .got = view == nullptr ? "no such tensor" : shape_text(view->shape),
                                       .fix = "Resume with the expert that the checkpoint was made by"});
    if (view->bytes > 0) std::memcpy(values + slice.offset, view->data, static_cast<std::size_t>(view->bytes));
  }
}

// torch's names of AdamW's moments; other rules keep theirs under the same.
constexpr const char* moment_prefix(std::int64_t i) { return i == 0 ? "exp_avg." : "exp_avg_sq."; }

template <class E>
std::vector<TensorData> moments_to_write(const Trainer<E>& trainer) {
  std::vector<TensorData> tensors;
  for (std::int64_t i = 0; i < E::optimizer::moments; ++i)
    for (TensorData& tensor : tensors_to_write(Trainer<E>::slices(), trainer.moment(i))) {
      tensor.name.insert(0, moment_prefix(i));
      tensors.push_back(std::move(tensor));
    }
  return tensors;
}

}  // namespace detail

// Writes checkpoint-N of state.global_step and returns its path; `base_model` is the directory of the base. On failure
// (E203: path and reason) the checkpoints before it are untouched and nothing of it is left.
template <class E>
std::string save_checkpoint(RunDirectory& directory, const Trainer<E>& trainer, const TrainingState& state,
                            const RunItems& items, const std::string& base_model) {
  RunDirectory::NewCheckpoint checkpoint = directory.begin(state.global_step);
  const std::string folder = checkpoint.path() + "/";
  if constexpr (E::tuning::trains_base) {
    save_model<E>(trainer.parameters(), checkpoint.path(), base_model);
  } else {
    save_adapter<E>(trainer.adapter(), checkpoint.path(), base_model, double{trainer.options().dropout});
  }
  if constexpr (slots::HasOwnParameters<typename E::adapter>)
    write_safetensors(folder + detail::parameters_file<E>(),
                      detail::tensors_to_write(Trainer<E>::slices(), trainer.parameters()), {{"format", "pt"}});
  detail::require_written(folder + detail::parameters_file<E>(),
                          detail::tensors_to_write(Trainer<E>::slices(), trainer.parameters()));
  const std::vector<TensorData> moments = detail::moments_to_write(trainer);
  write_safetensors(folder + "optimizer.safetensors", moments, {{"format", "pt"}});
  detail::require_written(folder + "optimizer.safetensors", moments);
  write_file(folder + "trainer_state.json", to_json(state).dump(2) + "\n");
  return directory.publish(checkpoint, to_json(items));
}

// Parameters alone, of a checkpoint directory of this expert. Throws E274, E200 to E22x.
template <class E>
void load_parameters(const std::string& checkpoint_path, Trainer<E>& trainer) {
  detail::read_slices(checkpoint_path + "/" + detail::parameters_file<E>(), "", Trainer<E>::slices(),
                      trainer.parameters());
  trainer.parameters_changed();
}

// Parameters, moments and step into the trainer; returns the state of the run. Throws E274, E276, E200 to E22x.
template <class E>
TrainingState load_checkpoint(const SavedCheckpoint& checkpoint, Trainer<E>& trainer) {
  const std::string state_file = checkpoint.file("trainer_state.json"),
                    optimizer_file = checkpoint.file("optimizer.safetensors");
  TrainingState state = training_state_from(read_json(state_file, training_state_bytes), state_file);
  if (state.global_step != checkpoint.global_step)
    throw Error(bad_training_state, {.file = state_file,
                                     .where = "/global_step",
                                     .expected = std::to_string(checkpoint.global_step),
                                     .got = std::to_string(state.global_step)});
  const std::vector<NamedSlice> slices = Trainer<E>::slices();
  detail::read_slices(checkpoint.file(detail::parameters_file<E>()), "", slices, trainer.parameters());
  for (std::int64_t i = 0; i < E::optimizer::moments; ++i)
    detail::read_slices(optimizer_file, detail::moment_prefix(i), slices, trainer.moment(i));
  trainer.restore(state.global_step);
  return state;
}

}  // namespace v0
}  // namespace expert
