// The Cypher expert as a type: graph schema and question -> one statement. manifest.json must agree with Neo4jExpert<>,
// tiny/manifest.json with TinyNeo4jExpert.
#pragma once
#include "expert/policy/assemble.hpp"

namespace expert {
inline namespace v0 {

template <class Model = Qwen3_0_6B, class... Overrides>
using Neo4jExpert = With<Expert<Model, RopeNtkByParts<8192, 32768>, DoRA<12>, Int4Quant, SdpaAttention, Packing<2048>,
                                Batch<32>, Grammar<Cypher>, ParserStrict, KvPersistence>,
                         Overrides...>;

// On the bundled small base: the same rope, adapter, decoding and runtime.
using TinyNeo4jExpert = Neo4jExpert<ExpertTiny, Bf16Weights, Packing<512>, Batch<8>>;

}  // namespace v0
}  // namespace expert
