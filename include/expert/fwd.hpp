// Names without definitions, for headers and user code that only mention them: std only, next to free to include.
#pragma once
#include <cstdint>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

// core
struct bf16;
struct f16;
template <class T, std::int64_t C>
struct Rows;
class Error;
class ThreadPool;
struct TokenBatch;

// policies
template <class Model, class Rope, class Adapter, class Quant, class Head, class Compute, class Attention,
          class Packing, class Batch, class Tuning, class Recompute, class Loss, class Optimizer, class Grammar,
          class Validation, class Kv, class DecodeBatches, class ChatTemplate, class Budget>
struct BasicExpert;
struct Qwen3_0_6B;
struct Qwen3_1_7B;
struct Qwen3_4B;
struct ExpertTiny;

// stages
class Json;
struct Manifest;
struct Mismatch;
template <class... Es>
struct Registry;
template <class E>
class Weights;
template <class E>
class Trainer;
template <class E>
class Generator;

}  // namespace v0
}  // namespace expert
