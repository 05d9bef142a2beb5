// A fixed seed and batch -> a trained adapter and its logits: what make_adapter writes for PEFT, and record_test makes
// again.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "expert/adapter_file.hpp"
#include "expert/core/batch.hpp"
#include "expert/generate.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/policy/adapter.hpp"
#include "expert/policy/assemble.hpp"
#include "expert/trainer.hpp"

namespace round_trip {
using namespace expert;

struct FixtureModel : HfDecoder<64, 2, 4, 2, 32, 128, 512, true, 128> {};
template <class Adapter>
using WithAdapter = Expert<FixtureModel, Adapter, Compute<f32>, Packing<32>, expert::Batch<2>>;

inline std::filesystem::path data() { return std::filesystem::path(EXPERT_SOURCE_DIR) / "tests/parity/data"; }

// One thread and the portable kernels: every x86-64 machine does the same operations in the same order.
inline CpuDevice portable_device() { return CpuDevice(1, Isa::Scalar); }

// The rows of ref_forward; every token but the last of a row predicts the next one.
struct Rows {
  std::int64_t rows = 0, length = 0;
  std::vector<std::int32_t> ids;
};
inline Rows fixture_rows() {
  const SafetensorsFile file(data() / "ref_forward.safetensors");
  const TensorView& t = *file.find("input_ids");
  const auto ids = t.as<std::int64_t>();
  Rows r{t.shape[0], t.shape[1], {}};
  for (const std::int64_t id : ids) r.ids.push_back(static_cast<std::int32_t>(id));
  return r;
}
inline TokenBatch batch_of(const Rows& r) {
  TokenBatch batch;
  batch.input_ids = r.ids;
  batch.row_begin = {0};
  batch.documents = r.rows;
  for (std::int64_t row = 0; row < r.rows; ++row) {
    const auto first = static_cast<std::int32_t>(row * r.length);
    for (std::int32_t i = 0; i < r.length; ++i) {
      const bool last = i + 1 == r.length;
      batch.positions.push_back(i);
      batch.labels.push_back(last ? ignore_index : r.ids[static_cast<std::size_t>(first + i + 1)]);
      batch.keys.push_back({0, 0, first, first + i + 1});
    }
    batch.row_begin.push_back((row + 1) * r.length);
  }
  return batch;
}

inline constexpr std::uint64_t seed = 20;
inline constexpr int steps = 8;

// The adapter after `steps` steps of AdamW, in the layout of AdapterLayout<E>.
template <class E>
std::vector<float> train(CpuDevice& device, const Weights<E>& weights) {
  Trainer<E> trainer(device, weights, {.optimizer = {.learning_rate = 5e-3, .weight_decay = 0.01}, .seed = seed});
  const TokenBatch batch = batch_of(fixture_rows());
  for (int i = 0; i < steps; ++i) trainer.step({&batch, 1}, 5e-3);
  return {trainer.parameters(), trainer.parameters() + AdapterLayout<E>::size};
}

// {input_ids (B, T) i64, logits (B, T, V) f32} of the generator with this adapter, one token at a time through its
// cache.
template <class E>
void write_logits(CpuDevice& device, const Weights<E>& weights, const float* adapter,
                  const std::filesystem::path& path) {
  const Rows r = fixture_rows();
  Generator<E> generator(device, weights, adapter, {.context_length = r.length, .rows = r.rows, .prefill_tokens = 1});
  std::vector<float> logits;
  std::vector<std::int64_t> ids;
  for (std::int64_t row = 0; row < r.rows; ++row)
    for (std::int64_t i = 0; i < r.length; ++i) {
      const std::int32_t id[] = {r.ids[static_cast<std::size_t>(row * r.length + i)]};
      const auto next = generator.append(row, id);
      logits.insert(logits.end(), next.begin(), next.end());
      ids.push_back(id[0]);
    }
  write_safetensors(
      path,
      {{"input_ids", DType::I64, {r.rows, r.length}, std::as_bytes(std::span(ids))},
       {"logits", DType::F32, {r.rows, r.length, FixtureModel::vocab_size}, std::as_bytes(std::span(logits))}},
      {});
}

}  // namespace round_trip
