// The flags that `generate` and `chat` share, and what they and the manifest make of an answer: an AnswerJob.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>

#include "cli/common.hpp"
#include "cli/grammar_source.hpp"
#include "cli/jobs.hpp"
#include "cli/model_options.hpp"

namespace cli {

struct AnswerFlags {
  ModelOptions model;
  std::string adapter = "none";
  bool greedy = false;
  std::int64_t max_new_tokens = 256, context = 0;
  std::uint64_t seed = 42;
  std::string grammar, validation, schema;
  bool schema_bound = false;
  std::optional<float> temperature, top_p, min_p;
  std::optional<std::int64_t> top_k;
};

inline void add_answer_options(CLI::App& command, AnswerFlags& flags) {
  add_model_options(command, flags.model);
  command.add_option("--adapter", flags.adapter, "PEFT directory, or none: the base alone")->capture_default_str();
  command.add_flag("--greedy", flags.greedy, "the most probable token each time");
  command.add_option("--max-new-tokens", flags.max_new_tokens)->capture_default_str();
  command.add_option("--context", flags.context, "tokens of prompt and answer; 0: as many as are needed")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--grammar", flags.grammar,
                     "a type (sql-postgres, json, ...), a file of GBNF or JSON Schema (*.json), or none; default: the "
                     "manifest's");
  command.add_flag(
      "--schema-bound", flags.schema_bound,
      "offer no tables, columns, labels... but those of the schema, each row's context or schema; default: "
      "the manifest's schema_bound");
  command.add_option("--schema", flags.schema, "file with the schema of all answers; implies --schema-bound");
  command.add_option("--validation", flags.validation, "who judges a finished answer; default: the manifest's")
      ->check(CLI::IsMember({"none", "parser", "parser-strict"}));
  command.add_option("--seed", flags.seed)->capture_default_str();
  command.add_option("--temperature", flags.temperature);
  command.add_option("--top-p", flags.top_p);
  command.add_option("--top-k", flags.top_k);
  command.add_option("--min-p", flags.min_p);
}

// flag > manifest > default, each with its origin.
inline void choose_sampling(const AnswerFlags& flags, const Manifest& manifest, AnswerJob& job, const Report& report) {
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
void choose_grammar(const AnswerFlags& flags, const Manifest& manifest, AnswerJob& job, const Report& report) {
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
  report.say(joined({"grammar: ", job.grammar.constrains() ? job.grammar.name : std::string("none"), " (",
                     flags.grammar.empty() ? "manifest" : "flag", job.schema_bound ? ", bound to schemas" : "",
                     "); validation: ", job.validation, " (", flags.validation.empty() ? "manifest" : "flag", ")"}));
}

// What the flags and the manifest say of answers, printed with its origin.
template <class E>
void fill_answer_job(const AnswerFlags& flags, const Manifest& manifest, AnswerJob& job, const Report& report) {
  job.model = flags.model.model;
  job.cache = cache_directory(flags.model.cache);
  if (flags.adapter != "none") job.adapter = flags.adapter;
  job.threads = flags.model.threads;
  job.context_length = flags.context;
  job.options.max_new_tokens = flags.max_new_tokens;
  job.options.seed = flags.seed;
  job.rows = row_options(manifest);
  choose_sampling(flags, manifest, job, report);
  choose_grammar<E>(flags, manifest, job, report);
}

}  // namespace cli
