// The TypeScript expert as a type: documentation and signature -> one function. manifest.json must agree with
// TypeScriptExpert<>, tiny/manifest.json with TinyTypeScriptExpert.
#pragma once
#include "expert/policy/assemble.hpp"

namespace expert {
inline namespace v0 {

template <class Model = Qwen3_0_6B, class... Overrides>
using TypeScriptExpert = With<Expert<Model, RopeNtkByParts<8192, 32768>, DoRA<12>, Int4Quant, SdpaAttention,
                                     Packing<2048>, Batch<32>, Grammar<TypeScript>, ParserStrict, KvPersistence>,
                              Overrides...>;

// On the bundled small base: the same rope, adapter, decoding and runtime.
using TinyTypeScriptExpert = TypeScriptExpert<ExpertTiny, Bf16Weights, Packing<512>, Batch<8>>;

}  // namespace v0
}  // namespace expert
