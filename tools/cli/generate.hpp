// `generate`: rows -> the same rows with {output, stop_reason, valid, tokens}, from the base alone or with an adapter.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "cli/common.hpp"
#include "cli/grammar_source.hpp"
#include "cli/jobs.hpp"
#include "cli/resolve.hpp"

namespace cli {

struct GenerateFlags {
  ModelOptions model;
  std::string adapter = "none", input, output, kv_cache;
  bool greedy = false;
  std::int64_t max_new_tokens = 256, batch_size = 8, context = 0;
  std::uint64_t seed = 42;
  std::string grammar, validation, schema;
  bool schema_bound = false;
  OnInvalid on_invalid = OnInvalid::mark;
  std::int64_t retries = 3;
  std::optional<float> temperature, top_p, min_p;
  std::optional<std::int64_t> top_k;
};

inline CLI::App* add_generate(CLI::App& app, GenerateFlags& flags) {
  CLI::App* command = app.add_subcommand("generate", "Answers rows with a base model or an expert");
  add_model_options(*command, flags.model);
  command->add_option("--adapter", flags.adapter, "PEFT directory, or none: the base alone")->capture_default_str();
  command->add_option("--input", flags.input,
                      "JSON lines, plain or gzip; default: the manifest's test_cases, else its test_path");
  command->add_option("--output", flags.output, "JSON lines")->required();
  command->add_flag("--greedy", flags.greedy, "the most probable token each time");
  command->add_option("--max-new-tokens", flags.max_new_tokens)->capture_default_str();
  command->add_option("--batch-size", flags.batch_size, "rows decoded at once: one of /perf/supported_batch_sizes")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--context", flags.context, "tokens of prompt and answer; 0: as many as the rows need")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--grammar", flags.grammar,
                      "a type (sql-postgres, json, ...), a file of GBNF or JSON Schema (*.json), or none; default: the "
                      "manifest's");
  command->add_flag(
      "--schema-bound", flags.schema_bound,
      "offer no tables, columns, labels... but those of the schema, each row's context or schema; default: "
      "the manifest's schema_bound");
  command->add_option("--schema", flags.schema, "file with the schema of all rows; implies --schema-bound");
  command->add_option("--validation", flags.validation, "who judges a finished answer; default: the manifest's")
      ->check(CLI::IsMember({"none", "parser", "parser-strict"}));
  command
      ->add_option("--on-invalid", flags.on_invalid,
                   "an answer that is refused is marked, drawn again with another seed, or an error")
      ->transform(CLI::CheckedTransformer(std::map<std::string, OnInvalid>{
          {"mark", OnInvalid::mark}, {"retry", OnInvalid::retry}, {"error", OnInvalid::error}}));
  command->add_option("--retries", flags.retries, "draws at most, with --on-invalid retry")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--kv-cache", flags.kv_cache,
                      "file with keys and values of what all prompts begin with: read where it exists, else written");
  command->add_option("--seed", flags.seed)->capture_default_str();
  command->add_option("--temperature", flags.temperature);
  command->add_option("--top-p", flags.top_p);
  command->add_option("--top-k", flags.top_k);
  command->add_option("--min-p", flags.min_p);
  return command;
}

// --input; else the rows that the manifest keeps for tests, relative to it. Throws E401 where there are none.
inline std::string rows_to_answer(const GenerateFlags& flags, const Manifest& manifest, const Report& report) {
  if (!flags.input.empty()) return flags.input;
  for (const char* pointer : {"/evaluation/test_cases", "/training/dataset/test_path"}) {
    const Json* path = manifest.find(pointer);
    if (path == nullptr || path->as_string().empty()) continue;
    const std::string file = (std::filesystem::path(manifest.file).parent_path() / path->as_string()).string();
    report.say(joined({"input: ", file, " (", pointer, ", ", manifest.origin(pointer), ")"}));
    return file;
  }
  throw Error(bad_command_line, {.file = manifest.file,
                                 .where = "/training/dataset/test_path",
                                 .expected = "rows to answer",
                                 .got = "neither --input nor this field nor /evaluation/test_cases",
                                 .fix = "Give --input FILE"});
}

// flag > manifest > default, each with its origin.
inline void choose_sampling(const GenerateFlags& flags, const Manifest& manifest, GenerateJob& job,
                            const Report& report) {
  const DecodingValues decoding = decoding_values(manifest);
  std::string text = "decoding:";
  const auto choose = [&](const char* name, const auto& flag, auto manifest_value, auto& to) {
    using T = std::remove_reference_t<decltype(to)>;
    to = flag ? static_cast<T>(*flag) : static_cast<T>(manifest_value);
    const std::string origin(flag ? "flag" : manifest.origin(std::string("/training/decoding/") + name));
    text += std::string(text.ends_with(':') ? " " : ", ") + name + " " + Json(static_cast<double>(to)).dump() + " (" +
            origin + ")";
  };
  SamplingOptions& s = job.options.sampling;
  choose("temperature", flags.temperature, decoding.temperature, s.temperature);
  choose("top_p", flags.top_p, decoding.top_p, s.top_p);
  choose("top_k", flags.top_k, decoding.top_k, s.top_k);
  choose("min_p", flags.min_p, decoding.min_p, s.min_p);
  job.options.do_sample = !flags.greedy && s.temperature != 0;  // below 0 is refused by the generator
  if (!job.options.do_sample) {
    s = {};
    text = flags.greedy ? "decoding: greedy (flag)" : "decoding: greedy (temperature 0)";
  }
  job.stop_sequences = decoding.stop_sequences;
  text += "; " + std::to_string(job.stop_sequences.size()) + " stop sequences (" +
          std::string(manifest.origin("/training/decoding/stop_sequences")) + ")";
  report.say(text);
}

// flag > the manifest's grammar_file > its grammar_type, where use_grammar says so.
template <class E>
void choose_grammar(const GenerateFlags& flags, const Manifest& manifest, GenerateJob& job, const Report& report) {
  const auto text_at = [&](const char* pointer) {
    const Json* value = manifest.find(pointer);
    return value == nullptr ? std::string() : value->as_string();
  };
  const std::string file = text_at("/training/decoding/grammar_file");
  job.language = grammar_type(manifest);
  if (!flags.grammar.empty()) {
    job.grammar = grammar_source(flags.grammar);
  } else if (E::grammar::use_grammar && !file.empty()) {
    job.grammar = grammar_file((std::filesystem::path(manifest.file).parent_path() / file).string());
  } else if (E::grammar::use_grammar) {
    job.grammar = grammar_source(std::string(E::grammar::grammar_type));
  }
  const bool by_flag = flags.schema_bound || !flags.schema.empty();
  job.schema_bound = by_flag || (job.grammar.constrains() && decoding_values(manifest).schema_bound);
  if (by_flag && !job.grammar.constrains())
    throw Error(bad_command_line, {.where = "--schema-bound",
                                   .expected = "a grammar to be narrowed",
                                   .got = "none",
                                   .fix = "Name one with --grammar"});
  job.schema_file = flags.schema;
  if (!flags.schema.empty()) job.schema = read_file(flags.schema, default_limits.grammar_bytes);
  const std::string declared = text_at("/training/decoding/validation");
  job.validation = !flags.validation.empty() ? flags.validation : declared.empty() ? "none" : declared;
  if (job.validation == "parser" && !job.grammar.constrains()) job.grammar_of_parser = grammar_source(job.language);
  report.say(joined({"grammar: ", job.grammar.constrains() ? job.grammar.name : std::string("none"), " (",
                     flags.grammar.empty() ? "manifest" : "flag", job.schema_bound ? ", bound to schemas" : "",
                     "); validation: ", job.validation, " (", flags.validation.empty() ? "manifest" : "flag", ")"}));
}

template <class Experts>
ExitCode run_generate(Experts experts, const GenerateFlags& flags, Report& report) {
  const Manifest manifest = load_with_settings(flags.model);
  GenerateJob job;
  job.model = flags.model.model;
  job.cache = cache_directory(flags.model);
  if (flags.adapter != "none") job.adapter = flags.adapter;
  job.input = rows_to_answer(flags, manifest, report);
  job.output = flags.output;
  job.threads = flags.model.threads;
  job.batch_size = flags.batch_size;
  job.context_length = flags.context;
  job.kv_cache = flags.kv_cache;
  job.on_invalid = flags.on_invalid;
  job.retries = flags.retries;
  job.options.max_new_tokens = flags.max_new_tokens;
  job.options.seed = flags.seed;
  job.rows = row_options(manifest);
  return with_resolved(experts, flags.model, manifest, report, [&]<class E>(std::type_identity<E>) {
    check_pin(flags.model, manifest, report);
    choose_sampling(flags, manifest, job, report);
    choose_grammar<E>(flags, manifest, job, report);
    return generate_expert<E>(job, report);
  });
}

}  // namespace cli
