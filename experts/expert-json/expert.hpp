// The JSON expert as a type: JSON Schema and request -> one document. manifest.json must agree with JsonExpert<>,
// tiny/manifest.json with TinyJsonExpert.
#pragma once
#include "expert/policy/assemble.hpp"

namespace expert {
inline namespace v0 {

template <class Model = Qwen3_0_6B, class... Overrides>
using JsonExpert = With<Expert<Model, RopeNtkByParts<8192, 32768>, DoRA<12>, Int4Quant, SdpaAttention, Packing<2048>,
                               Batch<32>, Grammar<JsonText>, ParserStrict, KvPersistence>,
                        Overrides...>;

// On the bundled small base: the same rope, adapter, decoding and runtime.
using TinyJsonExpert = JsonExpert<ExpertTiny, Bf16Weights, Packing<512>, Batch<8>>;

}  // namespace v0
}  // namespace expert
