// The SQL expert as a type: schema and question -> one PostgreSQL statement. manifest.json must agree with SqlExpert<>,
// tiny/manifest.json with TinySqlExpert.
#pragma once
#include "expert/policy/assemble.hpp"

namespace expert {
inline namespace v0 {

template <class Model = Qwen3_0_6B, class... Overrides>
using SqlExpert = With<Expert<Model, RopeNtkByParts<8192, 32768>, DoRA<12>, Int4Quant, SdpaAttention, Packing<2048>,
                              Batch<32>, Grammar<SqlPostgres>, ParserStrict, KvPersistence>,
                       Overrides...>;

// On the bundled small base: the same rope, adapter, decoding and runtime.
using TinySqlExpert = SqlExpert<ExpertTiny, Bf16Weights, Packing<512>, Batch<8>>;

}  // namespace v0
}  // namespace expert
