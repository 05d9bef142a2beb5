// Flags + manifest + config.json + the model's chat template -> the one compiled expert that they agree on, and what is
// announced before it runs.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cli/common.hpp"
#include "cli/model_options.hpp"
#include "expert/io/hf_config.hpp"
#include "expert/manifest.hpp"
#include "expert/registry.hpp"
#include "expert/text/chat_template_file.hpp"
#include "expert/weights.hpp"

namespace cli {

// The chat template that a model directory brings.
struct ModelTemplate {
  std::string file = {};
  std::string_view prompt_template = {};  // empty: none is there, or it is none of those that are compiled
};

// chat_template.jinja, else tokenizer_config.json, as transformers looks for it. A text that is not known cannot be
// compared, which is said: a policy with a renderer of its own may well be the one that writes it.
inline ModelTemplate read_model_template(const std::string& model, const Report& report) {
  for (const char* name : {"chat_template.jinja", "tokenizer_config.json"}) {
    const auto path = std::filesystem::path(model) / name;
    if (!std::filesystem::exists(path)) continue;
    ModelTemplate found{.file = path.string()};
    try {
      found.prompt_template = known_chat_template(read_chat_template(found.file), found.file);
    } catch (const Error& e) {
      if (e.error_code() == chat_template_missing) continue;
      if (e.error_code() != chat_template_unknown) throw;
      report.say("the model's chat template is not compared with the expert's: " + std::string(e.what()));
    }
    return found;
  }
  return {};
}

// Calls use(std::type_identity<E>) for the expert of the Registry that agrees with the manifest, with the model's
// config.json and with its chat template. Else reports every difference of the nearest one and returns `refused`.
template <class Experts, class Use>
ExitCode with_resolved(Experts experts, const ModelOptions& options, const Manifest& manifest, Report& report,
                       const Use& use) {
  const std::string config_file = (std::filesystem::path(options.model) / "config.json").string();
  const HfConfig config = read_hf_config(config_file);
  const ModelTemplate model_template = read_model_template(options.model, report);
  const auto against_model = [&]<class E>(std::type_identity<E>) {
    std::vector<Mismatch> found;
    for (const Error& e : check_config<E>(config, config_file))
      found.push_back({e.detail().file + ": " + e.detail().where, e.detail().got, e.detail().expected, "config.json"});
    constexpr std::string_view compiled = E::chat_template::prompt_template;
    if (!BringsRenderer<typename E::chat_template> && !model_template.prompt_template.empty() &&
        model_template.prompt_template != compiled)
      found.push_back({model_template.file + ": /chat_template", std::string(model_template.prompt_template),
                       std::string(compiled), "chat_template"});
    return found;
  };
  const auto candidates = compare_all(experts, manifest, against_model);
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
      against_model);
  return code;
}

}  // namespace cli
