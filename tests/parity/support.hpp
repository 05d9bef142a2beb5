// What the parity tests share: the tolerance table, fixtures as batches, and a comparison that names the worst element.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "catch.hpp"
#include "expert/core/batch.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/policy/assemble.hpp"
#include "expert/trainer.hpp"
#include "parity_sets.hpp"

namespace parity {
using namespace expert;

// Written before the first run. Absolute, or a share of the largest magnitude of the reference tensor.
inline constexpr double f32_logits = 5e-5, f32_intermediates = 5e-5, f32_loss = 1e-5;
inline constexpr double first_gradients = 1e-4;       // of the tensor's maximum
inline constexpr double losses_of_10_steps = 1e-4, tensors_after_steps = 2e-4, grad_norms = 1e-4;
inline constexpr double merged_weights = 2e-6;

inline std::filesystem::path path_of(std::string_view directory, const std::string& file) {
  return std::filesystem::path(directory) / file;
}
inline bool exists(std::string_view directory, const std::string& file) {
  return std::filesystem::exists(path_of(directory, file));
}

// An expert over the fixture's model: f32, unquantised, rows long enough for every fixture.
template <class Set, class... Ps>
using On = With<Expert<typename Set::model, Compute<f32>, Packing<64>, expert::Batch<2>>, Ps...>;

inline void check_close(const std::string& name, const float* got, const std::vector<float>& expected, double tolerance,
                        double relative_to_max = 0) {
  double largest = 0, worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(double{expected[i]}));
    const double d = std::abs(double{got[i]} - double{expected[i]});
    if (!(d <= worst)) worst = d, at = i;  // a NaN counts as the worst
  }
  const double allowed = tolerance + relative_to_max * largest;
  INFO(name << ": worst difference " << worst << " at " << at << " (got " << got[at] << ", expected " << expected[at] << "), allowed "
            << allowed);
  CHECK(worst <= allowed);
}
template <class T>
std::vector<float> widened(const T* x, std::int64_t n) {
  return {x, x + n};
}
inline const TensorView& tensor(const SafetensorsFile& file, const std::string& name) {
  const TensorView* t = file.find(name);
  INFO("fixture tensor " << name);
  REQUIRE(t != nullptr);
  return *t;
}

// Rows of token ids and unshifted labels (transformers shifts inside the loss): document r is row r.
inline TokenBatch batch_of(const SafetensorsFile& file, std::int64_t first_row = 0, std::int64_t rows = -1) {
  const TensorView& ids = tensor(file, "input_ids");
  const auto id = ids.as<std::int64_t>();
  const TensorView* labels = file.find("labels");
  const std::int64_t length = ids.shape[1];
  if (rows < 0) rows = ids.shape[0];
  TokenBatch batch;
  batch.row_begin.push_back(0);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t t = 0; t < length; ++t) {
      const auto i = static_cast<std::size_t>((first_row + row) * length + t);
      const bool last = t + 1 == length;
      batch.input_ids.push_back(static_cast<std::int32_t>(id[i]));
      batch.positions.push_back(static_cast<std::int32_t>(t));
      batch.labels.push_back(labels == nullptr || last ? ignore_index : static_cast<std::int32_t>(labels->as<std::int64_t>()[i + 1]));
      batch.keys.push_back({0, 0, static_cast<std::int32_t>(row * length), static_cast<std::int32_t>(row * length + t + 1)});
    }
    batch.row_begin.push_back((row + 1) * length);
    ++batch.documents;
  }
  return batch;
}

// The trainer's logits of the whole batch; it must fit one sub-batch.
template <class E>
std::vector<float> logits_of(CpuDevice& device, Trainer<E>& trainer, const TokenBatch& batch) {
  using T = typename E::compute::type;
  REQUIRE(batch.tokens() <= Trainer<E>::max_tokens);
  trainer.forward(batch, 0, batch.tokens());
  const std::int64_t n = batch.tokens() * E::model::vocab_size;
  std::vector<T> logits(static_cast<std::size_t>(n));
  std::vector<T> unpacked(static_cast<std::size_t>(E::model::vocab_size * E::model::hidden_size));
  Cpu cpu = device.cpu();
  linear_forward(cpu, batch.tokens(), trainer.model().lm_head, trainer.final_hidden(), logits.data(), unpacked.data());
  return widened(logits.data(), n);
}

// "base_model.model.X.lora_A.weight" -> the fixture's "X.lora_A.weight"; the magnitude vector has ".weight" there.
inline std::string fixture_name(const std::string& slice) {
  std::string name = slice.substr(std::string("base_model.model.").size());
  if (name.ends_with("lora_magnitude_vector")) name += ".weight";
  return name;
}
template <class E>
void compare_slices(const Trainer<E>& trainer, const float* values, const SafetensorsFile& file, const std::string& prefix,
                    double tolerance, double relative_to_max) {
  (void)trainer;
  for (const NamedSlice& slice : Trainer<E>::slices()) {
    const std::string name = prefix + (slice.name.starts_with("base_model.") ? fixture_name(slice.name) : slice.name);
    check_close(name, values + slice.offset, tensor(file, name).to_f32(), tolerance, relative_to_max);
  }
}
template <class E>
void set_adapter(Trainer<E>& trainer, const std::filesystem::path& directory) {
  const SafetensorsFile file(directory / "adapter_model.safetensors");
  for (const NamedSlice& slice : Trainer<E>::slices()) {
    const std::vector<float> values = tensor(file, slice.name).to_f32();
    std::copy(values.begin(), values.end(), trainer.parameters() + slice.offset);
  }
  trainer.parameters_changed();
}

// AdamW as the fixtures used it: lr 1e-3, decoupled decay 0.01 on every tensor, no clipping.
inline TrainerOptions fixture_options() {
  TrainerOptions o;
  o.optimizer = {.learning_rate = 1e-3, .weight_decay = 0.01, .max_grad_norm = 0};
  return o;
}

// Calls f(name, std::type_identity<Adapter>) for each adapter folder of the set.
template <class Set, class F>
void for_each_adapter(F&& f) {
  [&]<class... A>(std::type_identity<std::tuple<A...>>) {
    (f(std::string(A::name), std::type_identity<typename A::type>{}), ...);
  }(std::type_identity<typename Set::adapters>{});
}

}  // namespace parity
