// Flags + manifest + config.json -> the one compiled expert that they agree on, and what is announced before it runs.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "cli/common.hpp"
#include "cli/model_options.hpp"
#include "expert/io/hf_config.hpp"
#include "expert/manifest.hpp"
#include "expert/registry.hpp"
#include "expert/weights.hpp"

namespace cli {

// Calls use(std::type_identity<E>) for the expert of the Registry that agrees with the manifest and with the model's
// config.json. Else reports every difference of the nearest one and returns `refused`.
template <class Experts, class Use>
ExitCode with_resolved(Experts experts, const ModelOptions& options, const Manifest& manifest, Report& report,
                       const Use& use) {
  const std::string config_file = (std::filesystem::path(options.model) / "config.json").string();
  const HfConfig config = read_hf_config(config_file);
  const auto against_config = [&]<class E>(std::type_identity<E>) {
    std::vector<Mismatch> found;
    for (const Error& e : check_config<E>(config, config_file))
      found.push_back({e.detail().file + ": " + e.detail().where, e.detail().got, e.detail().expected, "config.json"});
    return found;
  };
  const auto candidates = compare_all(experts, manifest, against_config);
  const Candidate* least = nearest(candidates);
  if (least != nullptr && !least->mismatches.empty()) {
    report.say(mismatch_report(manifest, least->mismatches));
    Json list = Json::array();
    for (const Mismatch& m : least->mismatches)
      list.push(Json::object()
                    .set("pointer", utf8_lossy(m.pointer))
                    .set("manifest", m.manifest)
                    .set("compiled", m.compiled)
                    .set("policy", m.policy));
    report.result().set("mismatches", std::move(list)).set("expert", expert_type_of(manifest.json));
    return refused;
  }
  ExitCode code = failed;
  with_expert(
      experts, manifest,
      [&]<class E>(std::type_identity<E> entry) {
        report.say("expert: " + type_name<E>());
        code = use(entry);
      },
      against_config);
  return code;
}

}  // namespace cli
