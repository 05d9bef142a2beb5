// `tokenize`: rows {text} -> rows {ids, decoded}.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "cli/cached.hpp"
#include "cli/command_line.hpp"
#include "cli/common.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/data/shapes.hpp"
#include "expert/io/gzip.hpp"
#include "expert/text/tokenizer.hpp"

namespace cli {

struct TokenizeOptions {
  std::string tokenizer, input, output, cache;
};

inline CLI::App* add_tokenize(CLI::App& app, TokenizeOptions& options) {
  CLI::App* command = app.add_subcommand("tokenize", "Rows {text} -> rows {ids, decoded}");
  command->add_option("--tokenizer", options.tokenizer, "tokenizer.json")->required();
  command->add_option("--input", options.input, "JSON lines, plain or gzip")->required();
  command->add_option("--output", options.output, "JSON lines")->required();
  add_cache_option(*command, options.cache, "what was read of tokenizers");
  return command;
}

inline ExitCode run_tokenize(const TokenizeOptions& options, Report& report) {
  const Tokenizer tokenizer = load_tokenizer(options.tokenizer, cache_directory(options.cache), report);
  const auto source = open_plain_or_gzip(options.input);
  JsonlReader reader(*source, options.input);
  RowWriter writer(options.output);
  std::int64_t tokens = 0;
  for (JsonRow row; reader.next(row);) {
    const Json* text = row.value.find("text");
    if (text == nullptr || !text->is_string())
      throw Error(row_field_unusable, {.file = options.input,
                                       .where = "line " + std::to_string(row.line) + ", /text",
                                       .expected = "a string",
                                       .got = text == nullptr ? "no such field" : text->described(),
                                       .fix = "Give every row a field \"text\""});
    const std::vector<std::int32_t> ids = tokenizer.encode(text->as_string(), SpecialTokens::parse);
    Json list = Json::array();
    for (const std::int32_t id : ids) list.push(id);
    writer.write(Json::object().set("ids", std::move(list)).set("decoded", tokenizer.decode(ids)));
    tokens += static_cast<std::int64_t>(ids.size());
  }
  writer.commit();
  report.say(options.output + ": " + std::to_string(reader.rows()) + " rows, " + std::to_string(tokens) + " tokens");
  report.result().set("rows", reader.rows()).set("tokens", tokens);
  return ok;
}

}  // namespace cli
