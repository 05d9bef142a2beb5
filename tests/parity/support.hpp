// What the parity tests share: the tolerance table, fixtures as batches, and a comparison that names the worst element.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "catch.hpp"
#include "differences.hpp"
#include "expert/core/batch.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/policy/assemble.hpp"
#include "expert/trainer.hpp"
#include "parity_sets.hpp"

namespace parity {
using namespace expert;

// Written before the first run. Absolute, or a share of the largest magnitude of the reference tensor.
inline constexpr double f32_logits = 5e-5, f32_intermediates = 5e-5, f32_loss = 1e-5;
inline constexpr double first_gradients = 1e-4;  // of the tensor's maximum
inline constexpr double losses_of_10_steps = 1e-4, tensors_after_steps = 2e-4, grad_norms = 1e-4;
inline constexpr double merged_weights = 2e-6;
// Single ops, a share of the tensor's maximum. f32: some ten roundings. bf16: one unit in the last place (2^-7 of a
// number at worst), because torch rounds each step of the backward pass and the op only its result.
inline constexpr double f32_op = 2e-6, bf16_op = 1.0 / 128;
// torch computes pow, cos and sin to within one unit in the last place. Frequencies relative; tables absolute, times
// the attention factor.
inline constexpr double rope_frequencies = 2e-7, rope_tables = 1.2e-7, rotated = 1e-6;
inline constexpr double probabilities = 1e-6;  // relative
inline constexpr double scales_of_scales =
    2.4e-7;  // relative: torch sums the mean in f32, in an order that depends on the vector width
inline constexpr double adamw_of_given_gradients = 1e-6;

inline std::filesystem::path path_of(std::string_view directory, const std::string& file) {
  return std::filesystem::path(directory) / file;
}
// A file that a set may lack: the test that reads it says so and ends.
template <class Set>
std::unique_ptr<const SafetensorsFile> fixture(const std::string& name) {
  const std::filesystem::path path = path_of(Set::directory, name + ".safetensors");
  if (!std::filesystem::exists(path)) {
    WARN("skipped: no " << name << ".safetensors in " << Set::directory);
    return nullptr;
  }
  return std::make_unique<const SafetensorsFile>(path);
}
// The same for a tensor of a file.
inline bool has(const SafetensorsFile& file, const std::string& name) {
  if (file.find(name) != nullptr) return true;
  WARN("skipped: no " << name << " in " << file.name());
  return false;
}

// An expert over the fixture's model: f32, unquantised, rows long and many enough for every fixture.
template <class Set, class... Ps>
using On = With<Expert<typename Set::model, Compute<f32>, Packing<64>, expert::Batch<4>>, Ps...>;

// open[i], where given, is how far element i may lie off before it counts as a difference.
inline void check_close(const std::string& name, const float* got, const std::vector<float>& expected, double tolerance,
                        double relative_to_max = 0, const std::vector<double>& open = {}) {
  double largest = 0, worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(double{expected[i]}));
    const double d = std::abs(double{got[i]} - double{expected[i]}) - (open.empty() ? 0 : open[i]);
    if (!(d <= worst)) worst = d, at = i;  // a NaN counts as the worst
  }
  const double allowed = tolerance + relative_to_max * largest;
  INFO(name << ": worst difference " << worst << " at " << at << " (got " << got[at] << ", expected " << expected[at]
            << "), allowed " << allowed);
  CHECK(worst <= allowed);
}
template <class T>
void check_close(const std::string& name, const std::vector<T>& got, const std::vector<float>& expected,
                 double tolerance, double relative_to_max = 0) {
  REQUIRE(got.size() == expected.size());
  check_close(name, std::vector<float>(got.begin(), got.end()).data(), expected, tolerance, relative_to_max);
}

inline const TensorView& tensor(const SafetensorsFile& file, const std::string& name) {
  const TensorView* t = file.find(name);
  INFO("fixture tensor " << name);
  REQUIRE(t != nullptr);
  return *t;
}
inline std::vector<float> floats(const SafetensorsFile& file, const std::string& name) {
  return tensor(file, name).to_f32();
}
inline float scalar(const SafetensorsFile& file, const std::string& name) { return floats(file, name).at(0); }
template <class T>
std::vector<T> values(const SafetensorsFile& file, const std::string& name) {
  const auto all = tensor(file, name).as<T>();
  return {all.begin(), all.end()};
}
// Token ids, labels and positions are stored as int64.
inline std::vector<std::int32_t> ids(const SafetensorsFile& file, const std::string& name) {
  const std::vector<std::int64_t> all = values<std::int64_t>(file, name);
  std::vector<std::int32_t> out(all.size());
  std::transform(all.begin(), all.end(), out.begin(), [](std::int64_t x) { return static_cast<std::int32_t>(x); });
  return out;
}
// Row r of a (rows, cols) matrix.
inline std::vector<float> row_of(const std::vector<float>& x, std::size_t r, std::size_t cols) {
  const auto begin = x.begin() + static_cast<std::ptrdiff_t>(r * cols);
  return {begin, begin + static_cast<std::ptrdiff_t>(cols)};
}
// (B, heads, T, D) as torch has it -> our (B, T, heads * D).
inline std::vector<float> tokens_first(const TensorView& t) {
  const std::vector<float> x = t.to_f32();
  const std::int64_t B = t.shape[0], H = t.shape[1], T = t.shape[2], D = t.shape[3];
  std::vector<float> y(x.size());
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t h = 0; h < H; ++h)
      for (std::int64_t i = 0; i < T; ++i)
        for (std::int64_t d = 0; d < D; ++d)
          y[static_cast<std::size_t>(((b * T + i) * H + h) * D + d)] =
              x[static_cast<std::size_t>(((b * H + h) * T + i) * D + d)];
  return y;
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
      batch.labels.push_back(labels == nullptr || last ? ignore_index
                                                       : static_cast<std::int32_t>(labels->as<std::int64_t>()[i + 1]));
      batch.keys.push_back(
          {0, 0, static_cast<std::int32_t>(row * length), static_cast<std::int32_t>(row * length + t + 1)});
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
  Cpu cpu = device.cpu();
  linear_forward(cpu, batch.tokens(), trainer.model().lm_head, trainer.final_hidden(), logits.data());
  return {logits.begin(), logits.end()};
}

// "base_model.model.X.lora_A.weight" -> the fixture's "X.lora_A.weight"; the magnitude vector has ".weight" there.
inline std::string fixture_name(const std::string& slice) {
  std::string name = slice.substr(std::string("base_model.model.").size());
  if (name.ends_with("lora_magnitude_vector")) name += ".weight";
  return name;
}
template <class E>
void compare_slices(const float* values, const SafetensorsFile& file, const std::string& prefix, double tolerance,
                    double relative_to_max) {
  for (const NamedSlice& slice : Trainer<E>::slices()) {
    const std::string name = prefix + (slice.name.starts_with("base_model.") ? fixture_name(slice.name) : slice.name);
    check_close(name, values + slice.offset, floats(file, name), tolerance, relative_to_max);
  }
}
// AdamW's first step is the rate times g / (|g| + eps), the sign of g: where g is 0 to within the tolerance of
// gradients, that leaves the step open. By how much each element of it may differ from the step of gradients `g`.
inline std::vector<double> open_in_first_step(const std::vector<float>& g, const OptimizerOptions& options) {
  double largest = 0;
  for (const float x : g) largest = std::max(largest, std::abs(double{x}));
  const auto step = [&](double x) { return options.learning_rate * x / (std::abs(x) + options.epsilon); };
  const double off = first_gradients * largest;
  std::vector<double> open;
  for (const double x : g) open.push_back(std::max(step(x + off) - step(x), step(x) - step(x - off)));
  return open;
}
template <class E>
void compare_after_steps(const float* values, const SafetensorsFile& file, const std::string& prefix,
                         const OptimizerOptions& options) {
  for (const NamedSlice& slice : Trainer<E>::slices()) {
    const std::string name = fixture_name(slice.name);
    check_close(prefix + name, values + slice.offset, floats(file, prefix + name), tensors_after_steps, 0,
                open_in_first_step(floats(file, "grad." + name), options));
  }
}
template <class E>
void set_adapter(Trainer<E>& trainer, const std::filesystem::path& directory) {
  const SafetensorsFile file(directory / "adapter_model.safetensors");
  for (const NamedSlice& slice : Trainer<E>::slices()) {
    const std::vector<float> x = floats(file, slice.name);
    std::copy(x.begin(), x.end(), trainer.parameters() + slice.offset);
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
