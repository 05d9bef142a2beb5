// Every field that a manifest may have: its kind, its range and who acts on it. The manifest check, the documents and
// the schema read this one table; a key that is not here is an error.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

enum class FieldClass : std::uint8_t {
  projected,    // (a) a policy states it; the manifest must say the same
  run_time,     // (b) a stage reads it and acts on it
  record,       // (c) written by a tool, or measured and compared
  informative,  // (d) shown to people
  refused       // names what this library does not do; `note` says why
};

enum class FieldKind : std::uint8_t {
  text,
  name,
  version,
  hash,
  choice,
  texts,
  integer,
  integers,
  number,
  boolean,
  text_map,
  anything,
  one_object,
  one_object_or_none,
  empty_list
};

struct ManifestField {
  std::string_view pointer;  // a last segment may hold one *: any text
  FieldClass field_class;
  FieldKind kind;
  std::string_view note;  // class b, c: who acts on it; class a: the slot; refused: the reason
  double low = std::numeric_limits<double>::lowest(), high = std::numeric_limits<double>::max();
  bool low_is_excluded = false;
  std::string_view choices = {};  // of kind choice, separated by |
};

namespace detail {

inline constexpr double any_count = 1e9, largest_seed = 0x1p53;
inline constexpr std::string_view other_runtime = "belongs to another runtime; remove it";

constexpr ManifestField one_of(std::string_view pointer, FieldClass c, std::string_view choices,
                               std::string_view note) {
  ManifestField field{pointer, c, FieldKind::choice, note};
  field.choices = choices;
  return field;
}

}  // namespace detail

inline constexpr auto manifest_fields = [] {
  using enum FieldClass;
  using enum FieldKind;
  using detail::any_count, detail::one_of, detail::other_runtime;
  return std::array{
      ManifestField{"/name", run_time, name, "names of files and packages"},
      ManifestField{"/version", run_time, version, "names of packages"},
      one_of("/schema_version", run_time, "2.0", "load_manifest"),
      ManifestField{"/description", informative, text, ""},
      ManifestField{"/author", informative, text, ""},
      ManifestField{"/homepage", informative, text, ""},
      ManifestField{"/license", informative, text, ""},
      ManifestField{"/repository/type", informative, text, ""},
      ManifestField{"/repository/url", informative, text, ""},
      ManifestField{"/tags", informative, texts, ""},
      ManifestField{"/capabilities", informative, texts, ""},
      ManifestField{"/limitations", informative, anything, ""},

      ManifestField{"/base_models", projected, one_object, "model"},
      ManifestField{"/base_models/0/name", projected, text, "model"},
      ManifestField{"/base_models/0/sha256", run_time, hash, "weights"},
      ManifestField{"/base_models/0/quantization", projected, text, "quant"},
      ManifestField{"/base_models/0/quantization_group", projected, integer, "quant", 1, any_count},
      ManifestField{"/base_models/0/head_quantization", projected, text, "head"},
      ManifestField{"/base_models/0/rope_scaling/type", projected, text, "rope"},
      ManifestField{"/base_models/0/rope_scaling/factor", projected, number, "rope", 1, any_count},
      ManifestField{"/base_models/0/rope_scaling/max_position_embeddings", projected, integer, "rope", 1, any_count},
      ManifestField{"/base_models/0/rope_scaling/original_max_position_embeddings", projected, integer, "rope", 1,
                    any_count},
      ManifestField{"/base_models/0/rope_scaling/fine_grained", projected, boolean, "rope"},
      ManifestField{"/base_models/0/rope_scaling/beta_fast", projected, number, "rope", 0, any_count, true},
      ManifestField{"/base_models/0/rope_scaling/beta_slow", projected, number, "rope", 0, any_count, true},
      ManifestField{"/base_models/0/rope_scaling/attention_factor", projected, number, "rope", 0, any_count, true},
      ManifestField{"/base_models/0/rope_scaling/low_freq_factor", projected, number, "rope", 0, any_count, true},
      ManifestField{"/base_models/0/rope_scaling/high_freq_factor", projected, number, "rope", 0, any_count, true},
      ManifestField{"/base_models/0/prompt_template", projected, text, "chat_template"},
      ManifestField{"/base_models/0/adapters", projected, one_object_or_none, "adapter"},
      ManifestField{"/base_models/0/adapters/0/type", projected, text, "adapter"},
      ManifestField{"/base_models/0/adapters/0/r", projected, integer, "adapter", 1, any_count},
      ManifestField{"/base_models/0/adapters/0/alpha", projected, integer, "adapter", 1, any_count},
      ManifestField{"/base_models/0/adapters/0/target_modules", projected, texts, "adapter"},
      ManifestField{"/base_models/0/adapters/0/scaling", projected, text, "adapter"},
      ManifestField{"/base_models/0/adapters/0/dropout", run_time, number, "trainer", 0, 0.99},
      ManifestField{"/base_models/0/adapters/0/path", record, text, "adapter file"},
      ManifestField{"/base_models/0/adapters/0/size_bytes", record, integer, "adapter file", 0},
      ManifestField{"/base_models/0/adapters/0/sha256", record, hash, "adapter file"},

      ManifestField{"/soft_prompts", run_time, empty_list, "soft prompts are not trained by this version"},
      ManifestField{"/routing/keywords", run_time, texts, "route"},
      ManifestField{"/routing/exclude_keywords", run_time, texts, "route"},
      ManifestField{"/routing/router_hint", run_time, text, "route"},
      ManifestField{"/routing/priority", run_time, number, "route", 0, 1},
      ManifestField{"/constraints/max_chain", run_time, integer, "route, validate", 1, any_count},
      ManifestField{"/constraints/load_order", run_time, integer, "route, validate", 0, any_count},
      ManifestField{"/constraints/incompatible_with", run_time, texts, "route, validate"},
      ManifestField{"/constraints/requires", run_time, texts, "route, validate"},
      ManifestField{"/perf/latency_ms_overhead", record, number, "upper bound, measured by bench", 0},
      ManifestField{"/perf/vram_mb_overhead", record, number, "upper bound, compared with the plan", 0},
      ManifestField{"/perf/supported_batch_sizes", projected, integers, "decode_batches", 1, any_count},
      ManifestField{"/runtime/candle_compatible", run_time, boolean, "adapter file"},
      ManifestField{"/runtime/requires_kv_cache_persistence", projected, boolean, "kv"},
      ManifestField{"/runtime/attention_kernel", projected, text, "attention"},

      ManifestField{"/training/dataset/path", run_time, text, "tokens"},
      ManifestField{"/training/dataset/validation_path", run_time, text, "tokens"},
      ManifestField{"/training/dataset/test_path", run_time, text, "generate, train"},
      one_of("/training/dataset/format", run_time, "jsonl", "tokens"),
      ManifestField{"/training/dataset/field_mapping", run_time, text_map, "tokens"},
      ManifestField{"/training/dataset/streaming", run_time, boolean, "tokens"},
      ManifestField{"/training/dataset/type", informative, text, ""},
      ManifestField{"/training/dataset/tasks", informative, texts, ""},
      ManifestField{"/training/dataset/sources", informative, anything, ""},
      ManifestField{"/training/dataset/augmentation/schema_injection_prob", run_time, number, "tokens", 0, 1},
      ManifestField{"/training/dataset/augmentation/table_aliases", run_time, boolean, "tokens"},
      ManifestField{"/training/dataset/augmentation/comment_stripping", run_time, boolean, "tokens"},
      one_of("/training/dataset/augmentation/case_normalization", run_time, "preserve|lower|upper", "tokens"),
      ManifestField{"/training/dataset/validation/min_length", run_time, integer, "tokens", 0, any_count},
      ManifestField{"/training/dataset/validation/max_length", run_time, integer, "tokens", 1, any_count},
      ManifestField{"/training/dataset/validation/deduplicate", run_time, boolean, "tokens"},
      ManifestField{"/training/dataset/validation/validate_json", run_time, boolean, "tokens"},
      ManifestField{"/training/dataset/validation/validate_schema", run_time, boolean, "tokens"},
      ManifestField{"/training/dataset/preprocessing", record, anything, "preprocess"},
      ManifestField{"/training/dataset/splits", record, anything, "preprocess"},
      ManifestField{"/training/dataset/*_distribution", record, anything, "preprocess"},

      ManifestField{"/training/config/adapter_type", projected, text, "adapter"},
      ManifestField{"/training/config/rank", projected, integer, "adapter", 1, any_count},
      ManifestField{"/training/config/alpha", projected, integer, "adapter", 1, any_count},
      ManifestField{"/training/config/target_modules", projected, texts, "adapter"},
      ManifestField{"/training/config/dropout", run_time, number, "trainer", 0, 0.99},
      ManifestField{"/training/config/batch_size", projected, integer, "batch", 1, any_count},
      ManifestField{"/training/config/gradient_accumulation_steps", run_time, integer, "trainer", 1, 1e6},
      ManifestField{"/training/config/max_seq_length", projected, integer, "packing", 1, any_count},
      ManifestField{"/training/config/packing", projected, boolean, "packing"},
      ManifestField{"/training/config/epochs", run_time, number, "trainer", 0, 1e6, true},
      ManifestField{"/training/config/max_steps", run_time, integer, "trainer", -1, any_count},
      ManifestField{"/training/config/learning_rate", run_time, number, "trainer", 0, 1, true},
      one_of("/training/config/lr_scheduler", run_time, "constant|constant_with_warmup|linear|cosine", "trainer"),
      ManifestField{"/training/config/warmup_steps", run_time, integer, "trainer", 0, any_count},
      ManifestField{"/training/config/warmup_ratio", run_time, number, "trainer", 0, 1},
      ManifestField{"/training/config/optim", projected, text, "optimizer"},
      ManifestField{"/training/config/weight_decay", run_time, number, "trainer", 0, 1},
      ManifestField{"/training/config/max_grad_norm", run_time, number, "trainer", 0, 1e6},
      ManifestField{"/training/config/seed", run_time, integer, "trainer", 0, detail::largest_seed},
      ManifestField{"/training/config/bf16", projected, boolean, "compute"},
      ManifestField{"/training/config/fp16", run_time, boolean, "load_manifest"},
      ManifestField{"/training/config/use_sdpa", projected, boolean, "attention"},
      ManifestField{"/training/config/gradient_checkpointing", projected, boolean, "recompute"},
      ManifestField{"/training/config/activation_checkpointing", projected, boolean, "recompute"},
      ManifestField{"/training/config/logging_steps", run_time, integer, "trainer", 1, any_count},
      one_of("/training/config/save_strategy", run_time, "no|steps|epoch", "trainer"),
      ManifestField{"/training/config/save_steps", run_time, integer, "trainer", 1, any_count},
      ManifestField{"/training/config/save_total_limit", run_time, integer, "trainer", 0, any_count},
      one_of("/training/config/evaluation_strategy", run_time, "no|steps|epoch", "trainer"),
      ManifestField{"/training/config/eval_steps", run_time, integer, "trainer", 1, any_count},
      ManifestField{"/training/config/eval_on_start", run_time, boolean, "trainer"},
      ManifestField{"/training/config/load_best_model_at_end", run_time, boolean, "trainer"},
      ManifestField{"/training/config/metric_for_best_model", run_time, text, "trainer"},
      ManifestField{"/training/config/greater_is_better", run_time, boolean, "trainer"},
      ManifestField{"/training/config/early_stopping_patience", run_time, integer, "trainer", 0, any_count},
      ManifestField{"/training/config/early_stopping_threshold", run_time, number, "trainer", 0, 1e6},
      ManifestField{"/training/config/group_by_length", run_time, boolean, "trainer"},
      ManifestField{"/training/config/method", run_time, text, "load_manifest"},
      ManifestField{"/training/config/use_unsloth", refused, anything, other_runtime},
      ManifestField{"/training/config/torch_compile*", refused, anything, other_runtime},
      ManifestField{"/training/config/use_tf32", refused, anything, other_runtime},
      ManifestField{"/training/config/flash_attention_2", refused, anything, other_runtime},
      ManifestField{"/training/config/memory_efficient_attention", refused, anything, other_runtime},
      ManifestField{"/training/config/memory_clear_every", refused, anything, other_runtime},
      ManifestField{"/training/config/dataloader_*", refused, anything, other_runtime},
      ManifestField{"/training/config/use_cuda_graphs", refused, anything, other_runtime},
      ManifestField{"/training/config/cuda_graph_warmup_steps", refused, anything, other_runtime},

      ManifestField{"/training/decoding/use_grammar", projected, boolean, "grammar"},
      ManifestField{"/training/decoding/grammar_type", projected, text, "grammar"},
      ManifestField{"/training/decoding/grammar_file", run_time, text, "generate"},
      ManifestField{"/training/decoding/schema_bound", run_time, boolean, "generate"},
      ManifestField{"/training/decoding/validation", projected, text, "validation"},
      ManifestField{"/training/decoding/validation_cmd", refused, anything,
                    "a manifest never runs a command; use validation parser-strict"},
      ManifestField{"/training/decoding/stop_sequences", run_time, texts, "generate"},
      ManifestField{"/training/decoding/temperature", run_time, number, "generate", 0, 100},
      ManifestField{"/training/decoding/top_p", run_time, number, "generate", 0, 1, true},
      ManifestField{"/training/decoding/top_k", run_time, integer, "generate", 0, any_count},
      ManifestField{"/training/decoding/min_p", run_time, number, "generate", 0, 1},
      ManifestField{"/training/trained_on", record, anything, "training"},
      ManifestField{"/training/checkpoint", record, anything, "training"},
      ManifestField{"/training/packaging_checkpoint", record, anything, "package"},
      ManifestField{"/training/base_model_version", record, anything, "training"},
      ManifestField{"/training/quality_score", record, anything, "training"},
      ManifestField{"/training/alternative_checkpoints", record, anything, "training"},

      ManifestField{"/evaluation/suite", run_time, text, "eval"},
      ManifestField{"/evaluation/test_cases", run_time, text, "generate"},
      ManifestField{"/evaluation/metrics", run_time, texts, "eval"},
      ManifestField{"/quality_metrics", record, anything, "eval"},
      ManifestField{"/integrity/created_at", record, text, "package"},
      ManifestField{"/integrity/files", record, text_map, "package"},
  };
}();

// Records that no tool writes or compares yet.
inline constexpr std::array<std::string_view, 6> manifest_records_not_built{
    "/training/dataset/preprocessing", "/training/dataset/splits", "/training/dataset/*_distribution",
    "/training/packaging_checkpoint",  "/integrity/created_at",    "/integrity/files",
};

}  // namespace v0
}  // namespace expert
