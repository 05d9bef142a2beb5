// `check KIND FILE`: reads a file with the library's own reader and default limits, and says what is wrong with it.
#pragma once
#include <CLI/CLI.hpp>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "cli/common.hpp"
#include "cli/grammar_source.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/data/shapes.hpp"
#include "expert/grammar/automaton.hpp"
#include "expert/io/checkpoint_dir.hpp"
#include "expert/io/gzip.hpp"
#include "expert/io/hf_config.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/json/read_file.hpp"
#include "expert/manifest.hpp"
#include "expert/text/chat_template_file.hpp"
#include "expert/text/tokenizer.hpp"
#include "sql_metrics.hpp"
#include "sql_worker.hpp"

namespace cli {

struct CheckOptions {
  std::string kind, file;
};

// A lone file may hold tensors of any dtype; those that models are made of must be finite, as when a model is loaded.
inline void look_for_not_finite(const std::string& file, const TensorView& tensor, std::vector<Error>& found) {
  bool finite = true;
  const auto look = [&](auto values) {
    for (const auto x : values) finite &= std::isfinite(static_cast<float>(x));
  };
  if (tensor.dtype == DType::F32) look(tensor.as<float>());
  if (tensor.dtype == DType::BF16) look(tensor.as<bf16>());
  if (tensor.dtype == DType::F16) look(tensor.as<f16>());
  if (!finite)
    found.emplace_back(tensor_not_finite,
                       ErrorDetail{.file = file,
                                   .where = "tensor " + expert::quoted(tensor.name, 200),
                                   .expected = "finite numbers",
                                   .got = "NaN or infinity",
                                   .fix = "The file is damaged or its training diverged: use another"});
}

inline std::string check_safetensors(const std::string& file, std::vector<Error>& found) {
  const SafetensorsFile checked(file);
  std::int64_t bytes = 0;
  for (const TensorView& tensor : checked.tensors()) {
    bytes += tensor.bytes;
    look_for_not_finite(file, tensor, found);
  }
  return std::to_string(checked.tensors().size()) + " tensors, " + std::to_string(bytes) + " bytes of data";
}

inline std::string check_config(const std::string& file, std::vector<Error>&) {
  const HfConfig c = read_hf_config(file);
  return std::to_string(c.num_hidden_layers) + " layers, hidden_size " + std::to_string(c.hidden_size) +
         ", vocab_size " + std::to_string(c.vocab_size);
}

inline std::string check_tokenizer(const std::string& file, std::vector<Error>&) {
  const Tokenizer tokenizer = Tokenizer::load(file);
  return std::to_string(tokenizer.size()) + " tokens, " + std::to_string(tokenizer.added_tokens().size()) +
         " of them added";
}

// Read, never run: a template that is not known by its text is refused.
inline std::string check_chat_template(const std::string& file, std::vector<Error>&) {
  return "the chat template " + std::string(known_chat_template(read_chat_template(file), file));
}

// On its own; `train` and `generate` compare it with the compiled experts.
inline std::string check_manifest_file(const std::string& file, std::vector<Error>& found) {
  const Json manifest = read_json(file, default_limits.manifest_bytes);
  for (const Problem& problem : manifest_problems(manifest)) found.push_back(as_error(file, problem));
  return "schema_version 2.0";
}

// A query as a model may have written it, run in the guarded child process on a database that is empty but for what the
// statements before the query create. Throws E405 where this program cannot.
inline std::string check_sql_exec(const std::string& file, std::vector<Error>& found) {
  require_sql();
  const std::string text = read_file(file, sql_limits.text_bytes);
  SqlWorker worker;
  const SqlRun run = worker.run_script(text);
  if (run.status != SqlStatus::executed) {
    found.emplace_back(query_refused,
                       ErrorDetail{.file = file,
                                   .where = {},
                                   .expected = "one query that reads its own tables only and ends within "
                                               "10^7 steps, 200 ms and 1 MiB",
                                   .got = expert::quoted(run.message, 200),
                                   .fix = {}});
    return {};
  }
  const SqlParse parse = worker.parse(run.message);
  return std::to_string(run.result.rows.size()) + " rows; PostgreSQL's parser " +
         (parse.valid ? "reads it as one SELECT" : "does not read it as one SELECT: " + parse.message);
}

// What bears loss of a row: characters of its text, or tokens of a row of ids.
inline Share loss_share(const Example& example) {
  Share share;
  for (const Segment& segment : example.segments)
    for (const char c : segment.content)
      if ((static_cast<unsigned char>(c) & 0xc0u) != 0x80u) share.add(segment.bears_loss);
  for (const std::uint8_t bears : example.tokens.bears_loss) share.add(bears != 0);
  return share;
}

// Rows to train on and rows to be answered (without a completion) are both accepted.
inline std::string check_jsonl(const std::string& file, std::vector<Error>&) {
  const auto source = open_plain_or_gzip(file);
  JsonlReader reader(*source, file);
  std::array<std::int64_t, row_shape_names.size()> shapes{};
  std::array<Share, row_shape_names.size()> loss;
  std::int64_t without_completion = 0;
  RowOptions question;
  question.needs_completion = false;
  for (JsonRow row; reader.next(row);) {
    Example example;
    try {
      example = read_example(row, file);
      const Share share = loss_share(example);
      Share& all = loss[static_cast<std::size_t>(example.shape)];
      all = {all.n + share.n, all.count + share.count};
    } catch (const Error& e) {
      if (!(e.error_code() == row_without_shape)) throw;
      example = read_example(row, file, question);
      ++without_completion;
    }
    ++shapes[static_cast<std::size_t>(example.shape)];
  }
  require_rows(reader);
  std::string text = joined({reader.rows(), " rows"});
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (shapes[i] == 0) continue;
    append(text, {"; ", row_shape_names[i], " ", shapes[i]});
    if (loss[i].n == 0) continue;
    char share[64];
    std::snprintf(share, sizeof share, " (loss on %.1f %% of the %s)", 100 * loss[i].value(),
                  static_cast<RowShape>(i) == RowShape::input_ids ? "tokens" : "characters");
    text += share;
  }
  if (without_completion > 0) append(text, {"; ", without_completion, " without a completion"});
  if (reader.blank_lines() > 0) append(text, {"; ", reader.blank_lines(), " blank lines"});
  return text;
}

// As `generate --grammar` reads it: *.json is a JSON Schema.
inline std::string check_gbnf(const std::string& file, std::vector<Error>&) {
  const GrammarSyntax syntax = grammar_file(file).parse();
  const GrammarAutomaton automaton(syntax);
  return joined({syntax.rules.size(), " rules, ", automaton.states(), " states, ",
                 automaton.is_deterministic() ? "deterministic" : "not deterministic"});
}

// Reads the file, and throws or appends what is wrong with it; the result is a summary for people.
using Checker = std::string (*)(const std::string& file, std::vector<Error>& found);

inline const std::map<std::string, Checker>& checkers() {
  static const std::map<std::string, Checker> table{{"chat_template", check_chat_template},
                                                    {"config", check_config},
                                                    {"gbnf", check_gbnf},
                                                    {"jsonl", check_jsonl},
                                                    {"manifest", check_manifest_file},
                                                    {"safetensors", check_safetensors},
                                                    {"sql_exec", check_sql_exec},
                                                    {"tokenizer", check_tokenizer}};
  return table;
}

inline CLI::App* add_check(CLI::App& app, CheckOptions& options) {
  CLI::App* command = app.add_subcommand("check", "Reads a file as the library would, and says what is wrong with it");
  std::string kinds;
  for (const auto& [kind, checker] : checkers()) kinds += (kinds.empty() ? "" : ", ") + kind;
  command->add_option("kind", options.kind, "one of " + kinds)->required();
  command->add_option("file", options.file)->required();
  return command;
}

inline ExitCode run_check(const CheckOptions& options, Report& report) {
  const auto found = checkers().find(options.kind);
  if (found == checkers().end()) {
    std::string kinds;
    for (const auto& [kind, checker] : checkers()) kinds += (kinds.empty() ? "" : ", ") + kind;
    throw Error(bad_command_line, {.file = {},
                                   .where = "check KIND",
                                   .expected = "one of " + kinds,
                                   .got = expert::quoted(options.kind),
                                   .fix = {}});
  }
  std::vector<Error> errors;
  const std::string summary = found->second(options.file, errors);
  if (!errors.empty()) {
    report.complain(errors);
    return refused;
  }
  report.say(options.file + ": ok, " + summary);
  report.result().set("kind", options.kind).set("file", utf8_lossy(options.file)).set("summary", summary);
  return ok;
}

}  // namespace cli
