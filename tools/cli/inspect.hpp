// `inspect PATH`: what a file or a directory holds: tensors, an adapter, a checkpoint of a run, a tokenizer, a model.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>

#include "cli/common.hpp"
#include "expert/io/hf_config.hpp"
#include "expert/io/peft_config.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/io/training_state.hpp"
#include "expert/text/tokenizer.hpp"

namespace cli {

struct InspectOptions {
  std::string path;
};

inline CLI::App* add_inspect(CLI::App& app, InspectOptions& options) {
  CLI::App* command =
      app.add_subcommand("inspect", "Says what a safetensors file, adapter, checkpoint, tokenizer or model holds");
  command->add_option("path", options.path, "a file or a directory")->required();
  return command;
}

inline void inspect_safetensors(const std::string& path, Report& report) {
  const SafetensorsFile file(path);
  Json tensors = Json::array();
  std::int64_t bytes = 0, elements = 0;
  for (const TensorView& tensor : file.tensors()) {
    Json shape = Json::array();
    for (const std::int64_t n : tensor.shape) shape.push(Json(n));
    report.say(
        joined({"  ", expert::quoted(tensor.name, 200), "  ", name_of(tensor.dtype), "  ", shape_text(tensor.shape)}));
    tensors.push(Json::object()
                     .set("name", utf8_lossy(tensor.name))
                     .set("dtype", name_of(tensor.dtype))
                     .set("shape", std::move(shape)));
    bytes += tensor.bytes;
    elements += tensor.elements();
  }
  report.say(joined({path, ": ", file.tensors().size(), " tensors, ", elements, " elements, ", bytes, " bytes"}));
  report.result().set("tensors", std::move(tensors)).set("elements", elements).set("bytes", bytes);
}

inline void inspect_adapter(const std::filesystem::path& directory, Report& report) {
  const PeftConfig c = read_peft_config((directory / "adapter_config.json").string());
  const char* type = c.use_dora ? "dora" : c.use_rslora ? "rslora" : "lora";
  std::string targets;
  Json list = Json::array();
  for (const std::string& name : c.target_modules) {
    append(targets, {targets.empty() ? "" : ", ", name});
    list.push(Json(name));
  }
  report.say(joined({"adapter: ", type, ", r ", c.r, ", lora_alpha ", Json(c.lora_alpha).dump(), " on ", targets}));
  report.say("base: " + (c.base_model_name_or_path ? expert::quoted(*c.base_model_name_or_path) : "not named"));
  report.result().set("adapter", Json::object()
                                     .set("type", type)
                                     .set("r", c.r)
                                     .set("lora_alpha", c.lora_alpha)
                                     .set("lora_dropout", c.lora_dropout)
                                     .set("target_modules", std::move(list)));
}

inline void inspect_checkpoint(const std::filesystem::path& directory, Report& report) {
  const std::string file = (directory / "trainer_state.json").string();
  const TrainingState s = training_state_from(read_json(file, default_limits.manifest_bytes), file);
  report.say(joined({"checkpoint: step ", s.global_step, " of ", s.max_steps, ", ", s.num_input_tokens_seen,
                     " tokens, ", name_of(s.stop_reason)}));
  report.result().set("checkpoint", Json::object()
                                        .set("global_step", s.global_step)
                                        .set("max_steps", s.max_steps)
                                        .set("num_input_tokens_seen", s.num_input_tokens_seen)
                                        .set("best_metric", s.best_metric ? Json(*s.best_metric) : Json()));
}

inline void inspect_tokenizer(const std::string& path, Report& report) {
  const Tokenizer tokenizer = Tokenizer::load(path);
  Json added = Json::array();
  std::string names;
  for (const AddedToken& token : tokenizer.added_tokens()) {
    added.push(
        Json::object().set("id", token.id).set("content", utf8_lossy(token.content)).set("special", token.special));
    append(names, {"\n  ", token.id, "  ", expert::quoted(token.content)});
  }
  report.say(joined({"tokenizer: ", tokenizer.size(), " tokens, of them added:", names}));
  report.result().set("tokenizer", Json::object().set("size", tokenizer.size()).set("added_tokens", std::move(added)));
}

inline void inspect_model(const std::string& path, Report& report) {
  const HfConfig c = read_hf_config(path);
  report.say(
      joined({"model: ", c.num_hidden_layers, " layers, hidden_size ", c.hidden_size, ", ", c.num_attention_heads,
              " heads, ", c.num_key_value_heads, " key-value heads, head_dim ", c.head_dim, ", intermediate_size ",
              c.intermediate_size, ", vocab_size ", c.vocab_size, c.tie_word_embeddings ? ", tied head" : ""}));
  report.result().set("model", Json::object()
                                   .set("num_hidden_layers", c.num_hidden_layers)
                                   .set("hidden_size", c.hidden_size)
                                   .set("num_attention_heads", c.num_attention_heads)
                                   .set("num_key_value_heads", c.num_key_value_heads)
                                   .set("head_dim", c.head_dim)
                                   .set("intermediate_size", c.intermediate_size)
                                   .set("vocab_size", c.vocab_size)
                                   .set("tie_word_embeddings", c.tie_word_embeddings));
}

// A file by its name; a directory by the files that it holds, each with its own lines.
inline ExitCode run_inspect(const InspectOptions& options, Report& report) {
  const std::filesystem::path path(options.path);
  const auto has = [&](const char* name) { return std::filesystem::exists(path / name); };
  const std::string name = path.filename().string();
  if (!std::filesystem::is_directory(path)) {
    if (name == "tokenizer.json")
      inspect_tokenizer(options.path, report);
    else if (name == "config.json")
      inspect_model(options.path, report);
    else if (name == "adapter_config.json" || name == "trainer_state.json")
      return run_inspect({path.parent_path().empty() ? "." : path.parent_path().string()}, report);
    else
      inspect_safetensors(options.path, report);
    return ok;
  }
  if (has("config.json")) inspect_model((path / "config.json").string(), report);
  if (has("adapter_config.json")) inspect_adapter(path, report);
  if (has("trainer_state.json")) inspect_checkpoint(path, report);
  if (has("tokenizer.json")) inspect_tokenizer((path / "tokenizer.json").string(), report);
  if (has("adapter_model.safetensors")) inspect_safetensors((path / "adapter_model.safetensors").string(), report);
  const bool known =
      has("config.json") || has("adapter_config.json") || has("trainer_state.json") || has("tokenizer.json");
  if (!known)
    throw Error(bad_command_line,
                {.file = options.path,
                 .where = "inspect PATH",
                 .expected = "a directory with config.json, adapter_config.json, trainer_state.json or tokenizer.json",
                 .got = "none of them",
                 .fix = "Name a model, an adapter, a checkpoint-N, or a safetensors file"});
  return ok;
}

}  // namespace cli
