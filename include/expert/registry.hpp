// A manifest -> the one compiled expert that agrees with it: the only place where run-time values choose a type.
#pragma once
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "expert/manifest.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode registry_none_agrees{121, "no compiled expert agrees with this manifest"};
inline constexpr ErrorCode registry_several_agree{122, "more than one compiled expert agrees with this manifest"};

// The experts that a program was compiled with.
template <class... Es>
struct Registry {
  static constexpr std::size_t size = sizeof...(Es);
};

// How one entry of a registry compares with a manifest.
struct Candidate {
  std::size_t index = 0;
  std::vector<Mismatch> mismatches;
};

namespace detail {

struct NoFurtherCheck {
  template <class E>
  std::vector<Mismatch> operator()(std::type_identity<E>) const {
    return {};
  }
};

}  // namespace detail

// Compares every entry. `further(std::type_identity<E>)` may add mismatches from elsewhere, such as a model's
// config.json.
template <class... Es, class Further = detail::NoFurtherCheck>
std::vector<Candidate> compare_all(Registry<Es...>, const Manifest& manifest, const Further& further = {}) {
  std::vector<Candidate> candidates;
  [[maybe_unused]] const auto compare = [&]<class E>(std::type_identity<E> entry) {
    Candidate candidate{candidates.size(), check_manifest<E>(manifest)};
    for (Mismatch& m : further(entry)) candidate.mismatches.push_back(std::move(m));
    candidates.push_back(std::move(candidate));
  };
  (compare(std::type_identity<Es>{}), ...);
  return candidates;
}

// The entry with the fewest mismatches, the first of several; null for an empty registry.
inline const Candidate* nearest(const std::vector<Candidate>& candidates) {
  const auto least = std::min_element(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
    return a.mismatches.size() < b.mismatches.size();
  });
  return least == candidates.end() ? nullptr : &*least;
}

namespace detail {

struct SpelledPolicy {
  std::string_view value, policy;
};
inline std::string spell(const Json* value, std::initializer_list<SpelledPolicy> known, std::string_view pointer) {
  if (!value) return {};
  if (value->is_string())
    for (const SpelledPolicy& row : known)
      if (row.value == value->as_string()) return std::string(row.policy);
  std::string text = shown(*value);  // from a file: it must not end the comment
  for (std::size_t i = text.find("*/"); i != text.npos; i = text.find("*/")) text.erase(i, 1);
  return "/* your policy for " + std::string(pointer) + " " + text + " */";
}

}  // namespace detail

// The type that a manifest asks for, ready to paste: "Expert<Qwen3_0_6B, RopeNtkByParts<8192, 32768, 8>, DoRA<12, 24>,
// ...>". Slots that the manifest says nothing about keep their defaults; what no stock policy describes stands as a
// comment.
inline std::string expert_type_of(const Json& manifest) {
  std::string text;
  const auto add = [&](const std::string& policy) {
    if (!policy.empty()) text += (text.empty() ? "" : ", ") + policy;
  };
  const auto at = [&](std::string_view pointer) { return manifest.at_pointer(pointer); };
  const auto spelled = [&](std::string_view pointer, std::initializer_list<detail::SpelledPolicy> known) {
    return detail::spell(at(pointer), known, pointer);
  };
  const auto number = [&](const std::string& pointer) {  // "?" where the manifest does not say
    const Json* value = at(pointer);
    if (!value || !value->is_number()) return std::string("?");
    if (value->is_integer()) return std::to_string(value->as_int());
    return "Ratio{" + std::to_string(static_cast<std::int64_t>(value->as_double() * 1e6)) + ", 1000000}";
  };
  const auto flag = [&](std::string_view pointer, std::string_view yes, std::string_view no) {
    const Json* value = at(pointer);
    return std::string(!value || !value->is_bool() ? "" : value->as_bool() ? yes : no);
  };

  add(spelled("/base_models/0/name", {{"Qwen3-0.6B", "Qwen3_0_6B"},
                                      {"Qwen3-1.7B", "Qwen3_1_7B"},
                                      {"Qwen3-4B", "Qwen3_4B"},
                                      {"ExpertTiny", "ExpertTiny"}}));

  const std::string rope = "/base_models/0/rope_scaling/", factor = number(rope + "factor");
  const std::string original = number(rope + "original_max_position_embeddings");
  const std::string by_parts = "RopeNtkByParts<" + original + ", " + number(rope + "max_position_embeddings") + ", " +
                               factor + flag(rope + "fine_grained", "", ", false") + ">";
  const std::string dynamic = "RopeDynamic<" + factor + (original == "?" ? "" : ", " + original) + ">";
  const std::string linear = "RopeLinear<" + factor + ">", yarn = "RopeYarn<" + factor + ", " + original + ">",
                    llama3 = "RopeLlama3<" + factor + ", " + original + ">";
  add(spelled(rope + "type", {{"default", "RopeDefault"},
                              {"ntk-by-parts", by_parts},
                              {"linear", linear},
                              {"dynamic", dynamic},
                              {"yarn", yarn},
                              {"llama3", llama3}}));

  const std::string adapter = "/base_models/0/adapters/0/";
  const Json* adapters = at("/base_models/0/adapters");
  if (adapters && adapters->is_array() && adapters->items().empty()) {
    add("FullFineTune");
  } else {
    std::string arguments = "<" + number(adapter + "r") + ", " + number(adapter + "alpha");
    const Json* targets = at(adapter + "target_modules");
    if (targets && targets->is_array()) {
      std::string list;
      for (const Json& target : targets->items())
        for (const std::string_view known : AllSevenTargets::target_modules)
          if (target.is_string() && target.as_string() == known)
            list += (list.empty() ? "" : ", ") + ("Projection::" + std::string(known));
      if (detail::equal_values(*targets, detail::to_json(Strings(AllSevenTargets::target_modules))))
        arguments += ", AllSevenTargets";
      else if (!detail::equal_values(*targets, detail::to_json(Strings(SixTargets::target_modules))))
        arguments += ", Targets<" + list + ">";
    }
    arguments += ">";
    const Json* dropout = at(adapter + "dropout");
    const bool drops = dropout && dropout->is_number() && dropout->as_double() > 0;
    const std::string dora = (drops ? "DoRAWithDropout" : "DoRA") + arguments, lora = "LoRA" + arguments,
                      rslora = "RsLoRA" + arguments;
    add(spelled(adapter + "type", {{"dora", dora}, {"lora", lora}, {"rslora", rslora}}));
  }

  const std::string affine = "Int4Affine<" + number("/base_models/0/quantization_group") + ">";
  add(spelled("/base_models/0/quantization",
              {{"bf16", "Bf16Weights"}, {"int4", "Int4Quant"}, {"int8", "Int8Quant"}, {"int4-affine", affine}}));
  add(spelled("/base_models/0/head_quantization", {{"none", ""}, {"int8", "HeadInt8"}}));
  add(flag("/training/config/bf16", "", "Compute<f32>"));
  add(spelled("/runtime/attention_kernel", {{"flash-v2", "SdpaAttention"}}));
  if (at("/training/config/max_seq_length"))
    add(flag("/training/config/packing", "Packing", "NoPacking") + "<" + number("/training/config/max_seq_length") +
        ">");
  if (at("/training/config/batch_size")) add("Batch<" + number("/training/config/batch_size") + ">");
  add(flag("/training/config/gradient_checkpointing", "RecomputeLayers", ""));
  add(spelled("/training/config/optim", {{"adamw", ""}, {"muon", "Muon"}}));
  add(spelled("/training/decoding/grammar_type", {{"sql-postgres", "Grammar<SqlPostgres>"},
                                                  {"json", "Grammar<JsonText>"},
                                                  {"typescript", "Grammar<TypeScript>"},
                                                  {"cypher", "Grammar<Cypher>"}}));
  add(spelled("/training/decoding/validation",
              {{"none", ""}, {"parser", "Parser"}, {"parser-strict", "ParserStrict"}}));
  add(flag("/runtime/requires_kv_cache_persistence", "KvPersistence", ""));
  const Json* sizes = at("/perf/supported_batch_sizes");
  if (sizes && sizes->is_array() &&
      !detail::equal_values(*sizes, detail::to_json(Integers(DecodeBatches<1, 2, 4, 8>::supported_batch_sizes)))) {
    std::string list;
    for (const Json& n : sizes->items())
      if (n.is_integer()) list += (list.empty() ? "" : ", ") + std::to_string(n.as_int());
    add("DecodeBatches<" + list + ">");
  }
  add(spelled("/base_models/0/prompt_template", {{"qwen3", ""}, {"plain", "PlainChat"}}));
  return "Expert<" + text + ">";
}

// The table of mismatches with what to change on either side; empty text for an empty list.
inline std::string mismatch_report(const Manifest& manifest, const std::vector<Mismatch>& mismatches) {
  if (mismatches.empty()) return {};
  return mismatch_table(manifest.file, mismatches) + "fix: edit the manifest, or compile " +
         expert_type_of(manifest.json) + "\n";
}

// The index of the entry that agrees. Throws E121 with the nearest entry, its differences and the type to compile, or
// E122.
inline std::size_t resolve(const std::vector<Candidate>& candidates, const Manifest& manifest) {
  std::vector<std::size_t> agreeing;
  for (const Candidate& candidate : candidates)
    if (candidate.mismatches.empty()) agreeing.push_back(candidate.index);
  if (agreeing.size() == 1) return agreeing[0];
  if (agreeing.size() > 1)
    throw Error(registry_several_agree, {.file = manifest.file,
                                         .where = {},
                                         .expected = "exactly one entry of the registry",
                                         .got = std::to_string(agreeing.size()) + ", the first two being entries " +
                                                std::to_string(agreeing[0]) + " and " + std::to_string(agreeing[1]),
                                         .fix = "Compile experts that their manifests can tell apart"});
  std::string differences = "an empty registry";
  if (const Candidate* least = nearest(candidates)) {
    differences =
        "entry " + std::to_string(least->index) + " with " + std::to_string(least->mismatches.size()) + " differences";
    for (const Mismatch& m : least->mismatches)
      differences += "; " + m.pointer + " is " + m.manifest + ", compiled " + m.compiled + " by " + m.policy;
  }
  throw Error(registry_none_agrees, {.file = manifest.file,
                                     .where = {},
                                     .expected = "an entry without differences",
                                     .got = "as the nearest " + differences,
                                     .fix = "Edit the manifest, or compile " + expert_type_of(manifest.json)});
}

// Resolves and calls `use(std::type_identity<E>)` for the entry that agrees.
template <class... Es, class Use, class Further = detail::NoFurtherCheck>
void with_expert(Registry<Es...> registry, const Manifest& manifest, const Use& use, const Further& further = {}) {
  const std::size_t chosen = resolve(compare_all(registry, manifest, further), manifest);
  std::size_t index = 0;
  ((index++ == chosen ? use(std::type_identity<Es>{}) : void()), ...);
}

}  // namespace v0
}  // namespace expert
