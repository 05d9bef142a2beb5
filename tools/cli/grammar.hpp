// `grammar accept`: rows {text} -> the same rows with {accepted}: is the text a sentence of a grammar, and, with a
// tokenizer, does the mask allow each of its tokens and the end after them?
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/answers.hpp"
#include "cli/common.hpp"
#include "cli/grammar_source.hpp"
#include "cli/judge.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/io/gzip.hpp"
#include "expert/text/tokenizer.hpp"

namespace cli {

inline constexpr ErrorCode row_without_text{409, "a row has no text to judge"};

struct GrammarOptions {
  std::string grammar, input, output, tokenizer;
};

// Returns the group `grammar`; its only verb so far is accept.
inline CLI::App* add_grammar(CLI::App& app, GrammarOptions& options) {
  CLI::App* group = app.add_subcommand("grammar", "What a grammar accepts");
  group->require_subcommand(1);
  CLI::App* accept = group->add_subcommand("accept", "Rows {text} -> the same rows with {accepted}");
  accept->add_option("--grammar", options.grammar, "a type (sql-postgres, json, ...) or a file of GBNF or JSON Schema")
      ->required();
  accept->add_option("--input", options.input, "JSON lines {text}, plain or gzip")->required();
  accept->add_option("--output", options.output, "JSON lines")->required();
  accept->add_option("--tokenizer", options.tokenizer,
                     "tokenizer.json: the mask must allow every token of the text, and the end");
  return group;
}

inline ExitCode run_grammar(const GrammarOptions& options, Report& report) {
  const GrammarSource source = grammar_source(options.grammar);
  if (!source.constrains())
    throw Error(unknown_grammar, {.where = "--grammar", .got = options.grammar, .fix = "Name a type or a file"});
  AnswerJudge judge("parser", {}, source);
  std::optional<Tokenizer> tokenizer;
  std::unique_ptr<GrammarMasks> masks;
  std::int32_t end = 0;
  if (!options.tokenizer.empty()) {
    tokenizer.emplace(Tokenizer::load(options.tokenizer));
    end = static_cast<std::int32_t>(tokenizer->size());  // an end token of our own, behind the last
    masks = std::make_unique<GrammarMasks>(source, *tokenizer, tokenizer->size() + 1, std::span(&end, 1));
  }
  const auto allowed = [&](std::int32_t id, GrammarMatcher& matcher) {
    const auto mask = matcher.mask();
    return (mask[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0;
  };
  const auto accepts = [&](const std::string& text) {
    if (!masks) return judge(text)->valid;
    GrammarMatcher matcher(masks->masks);
    for (const std::int32_t id : tokenizer->encode(text, SpecialTokens::as_text))
      if (!allowed(id, matcher) || !matcher.accept(id)) return false;
    return allowed(end, matcher);
  };
  const auto file = open_plain_or_gzip(options.input);
  JsonlReader reader(*file, options.input);
  RowWriter writer(options.output);
  std::int64_t rows = 0, accepted = 0;
  for (JsonRow row; reader.next(row); ++rows) {
    const Json* text = row.value.find("text");
    if (text == nullptr || !text->is_string())
      throw Error(row_without_text, {.file = options.input,
                                     .where = "line " + std::to_string(row.line) + ", /text",
                                     .expected = "a text",
                                     .fix = "Write rows {\"text\": ...}"});
    const bool is = accepts(text->as_string());
    accepted += is;
    writer.write(row.value.set("accepted", is));
  }
  writer.commit();
  report.say(joined({accepted, " of ", rows, " accepted by ", source.name}));
  report.result().set("rows", rows).set("accepted", accepted);
  return ok;
}

}  // namespace cli
