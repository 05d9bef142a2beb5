// The caps on every input, in one place; every message about a cap names its member. A caller may pass other limits.
#pragma once
#include <cstdint>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

struct Limits {
  std::int64_t json_depth = 64;
  std::int64_t manifest_bytes = std::int64_t{1} << 20;
  std::int64_t config_bytes = std::int64_t{1} << 20;  // config.json, generation_config.json, adapter_config.json
  std::int64_t index_bytes = std::int64_t{16} << 20;  // model.safetensors.index.json
  std::int64_t tokenizer_bytes = std::int64_t{64} << 20;
  std::int64_t safetensors_header_bytes = std::int64_t{16} << 20;
  std::int64_t safetensors_rank = 8;
  std::int64_t jsonl_line_bytes = std::int64_t{8} << 20;
  std::int64_t grammar_bytes = std::int64_t{1} << 20;  // of GBNF, of a JSON Schema, of a pattern
  std::int64_t grammar_depth = 256;                    // groups in groups, rules that begin with rules
  std::int64_t grammar_rules = 16'384;
  std::int64_t grammar_repetitions = 100'000;   // m and n of {m,n}
  std::int64_t grammar_states = 200'000;        // of all automata, before and after they are made deterministic
  std::int64_t grammar_heads = 4096;            // derivations of one text that are alive at once
  std::int64_t grammar_frames = 16'000'000;     // numbers kept of a text's derivations, the finished ones too
  std::int64_t grammar_work = 1'000'000;        // frames and lists that are looked at for one byte or one mask
  std::int64_t grammar_mask_work = 20'000'000;  // nodes of the vocabulary that are looked at for one mask
};
inline constexpr Limits default_limits{};

}  // namespace v0
}  // namespace expert
