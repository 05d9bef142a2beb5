// `grammar accept`: rows {text} -> the same rows with {accepted}: is the text a sentence of a grammar, and, with a
// tokenizer, does the mask allow each of its tokens and the end after them? `grammar bench`: what the masks along such
// texts cost.
#pragma once
#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/answers.hpp"
#include "cli/cached.hpp"
#include "cli/command_line.hpp"
#include "cli/common.hpp"
#include "cli/grammar_source.hpp"
#include "cli/judge.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/io/gzip.hpp"
#include "expert/text/tokenizer.hpp"
#include "grammar_timing.hpp"

namespace cli {

inline constexpr ErrorCode row_without_text{409, "a row has no text to judge"};

inline constexpr ErrorCode nothing_to_measure{421, "no row is a text of the grammar"};

struct GrammarOptions {
  std::string grammar, input, output, tokenizer, cache;
};

struct GrammarCommands {
  CLI::App *accept, *bench;
};

inline GrammarCommands add_grammar(CLI::App& app, GrammarOptions& options) {
  CLI::App* group = app.add_subcommand("grammar", "What a grammar accepts, and what its masks cost");
  group->require_subcommand(1);
  const auto add = [&](const char* name, const char* description) {
    CLI::App* command = group->add_subcommand(name, description);
    command
        ->add_option("--grammar", options.grammar, "a type (sql-postgres, json, ...) or a file of GBNF or JSON Schema")
        ->required();
    command->add_option("--input", options.input, "JSON lines {text}, plain or gzip")->required();
    add_cache_option(*command, options.cache, "tables of the tokenizer");
    return command;
  };
  CLI::App* accept = add("accept", "Rows {text} -> the same rows with {accepted}");
  accept->add_option("--output", options.output, "JSON lines")->required();
  accept->add_option("--tokenizer", options.tokenizer,
                     "tokenizer.json: the mask must allow every token of the text, and the end");
  CLI::App* bench = add("bench", "Rows {text} -> microseconds for each mask along them, cold and warm");
  bench->add_option("--tokenizer", options.tokenizer, "tokenizer.json: whose tokens are masked")->required();
  return {accept, bench};
}

inline GrammarSource named_grammar(const GrammarOptions& options) {
  GrammarSource source = grammar_source(options.grammar);
  if (!source.constrains())
    throw Error(unknown_grammar, {.where = "--grammar", .got = options.grammar, .fix = "Name a type or a file"});
  return source;
}

// use(JsonRow, its text) for each row; how many there were. Throws E409.
template <class Use>
std::int64_t for_each_text(const std::string& input, const Use& use) {
  const auto file = open_plain_or_gzip(input);
  JsonlReader reader(*file, input);
  for (JsonRow row; reader.next(row);) {
    const Json* text = row.value.find("text");
    if (text == nullptr || !text->is_string())
      throw Error(row_without_text, {.file = input,
                                     .where = "line " + std::to_string(row.line) + ", /text",
                                     .expected = "a text",
                                     .fix = "Write rows {\"text\": ...}"});
    use(row, text->as_string());
  }
  return reader.rows();
}

// A grammar over the tokens of a tokenizer, and an end token of our own, behind the last.
struct TokenizedGrammar {
  TokenizedGrammar(const GrammarSource& source, const std::string& tokenizer_file, const std::string& cache,
                   const Report& report)
      : read(cached_tokenizer(tokenizer_file, cache)), end(static_cast<std::int32_t>(read.tokenizer.size())) {
    say_note(report, read.note);
    masks = grammar_masks(source, read, size(), end_tokens(), cache,
                          [&](const std::string& note) { say_note(report, note); });
  }

  // The mask allows every token, and the end after them.
  bool allows(std::span<const std::int32_t> ids) {
    GrammarMatcher matcher(masks->masks);
    const auto allowed = [&](std::int32_t id) {
      return (matcher.mask()[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0;
    };
    for (const std::int32_t id : ids)
      if (!allowed(id) || !matcher.accept(id)) return false;
    return allowed(end);
  }

  std::vector<std::int32_t> encode(const std::string& text) const {
    return read.tokenizer.encode(text, SpecialTokens::as_text);
  }
  std::int64_t size() const { return read.tokenizer.size() + 1; }
  std::span<const std::int32_t> end_tokens() const { return std::span(&end, 1); }

  CachedTokenizer read;
  std::int32_t end;
  std::unique_ptr<GrammarMasks> masks;
};

inline ExitCode run_grammar_accept(const GrammarOptions& options, Report& report) {
  const GrammarSource source = named_grammar(options);
  AnswerJudge judge("parser", {}, source);
  std::unique_ptr<TokenizedGrammar> tokens;
  if (!options.tokenizer.empty())
    tokens = std::make_unique<TokenizedGrammar>(source, options.tokenizer, cache_directory(options.cache), report);
  RowWriter writer(options.output);
  std::int64_t accepted = 0;
  const std::int64_t rows = for_each_text(options.input, [&](JsonRow& row, const std::string& text) {
    const bool is = tokens ? tokens->allows(tokens->encode(text)) : judge(text)->valid;
    accepted += is;
    writer.write(row.value.set("accepted", is));
  });
  writer.commit();
  report.say(joined({accepted, " of ", rows, " accepted by ", source.name}));
  report.result().set("rows", rows).set("accepted", accepted);
  return ok;
}

// Texts that the grammar does not accept are counted and left out. Throws E421 where none is left.
inline ExitCode run_grammar_bench(const GrammarOptions& options, Report& report) {
  const GrammarSource source = named_grammar(options);
  const std::string cache = cache_directory(options.cache);
  TokenizedGrammar grammar(source, options.tokenizer, cache, report);
  std::vector<std::vector<std::int32_t>> texts;
  const std::int64_t rows = for_each_text(options.input, [&](JsonRow&, const std::string& text) {
    std::vector<std::int32_t> ids = grammar.encode(text);
    if (grammar.allows(ids)) texts.push_back(std::move(ids));
  });
  if (texts.empty())
    throw Error(nothing_to_measure, {.file = options.input,
                                     .expected = "texts that " + source.name + " accepts",
                                     .got = "none in " + std::to_string(rows) + " rows",
                                     .fix = "See which rows it accepts with `expert-cli grammar accept`"});

  const auto time = [](const auto& f) {
    const double start = bench::now_us();
    f();
    return Json(std::round(bench::now_us() - start));
  };
  const auto vocabulary_from = [&](const std::string& directory) {
    return vocabulary_of(grammar.read, grammar.size(), grammar.end_tokens(), directory).vocabulary;
  };
  const auto parse = [&] { return source.parse(); };
  const Json vocabulary_us = time([&] { vocabulary_from(""); });
  // Kept by now, if anything is.
  const Json vocabulary_cached_us = cache.empty() ? Json() : time([&] { vocabulary_from(cache); });
  const Json grammar_cached_us = cache.empty() || !source.built_in ? Json() : time([&] { compiled(source, cache); });
  const Json tokenizer_us = time([&] { cached_tokenizer(options.tokenizer, cache); });
  const Vocabulary& vocabulary = grammar.masks->vocabulary;
  bench::StartTimes begin = bench::time_first_mask(vocabulary, parse);
  bench::Times from_texts = bench::time_from_texts([&] { return vocabulary_from(""); }, parse);
  const GrammarAutomaton automaton(parse());
  TokenMasks masks(automaton, vocabulary);
  bench::PassTimes cold, warm;
  for (bench::PassTimes* pass : {&cold, &warm})
    for (const auto& ids : texts) bench::follow(masks, ids, *pass);
  report.result()
      .set("grammar", source.name)
      .set("isa", name_of(best_isa()))
      .set("rows", rows)
      .set("refused", rows - std::ssize(texts))
      .set("masks", std::ssize(cold.mask.us))
      .set("vocabulary", grammar.read.tokenizer.size())
      .set("states", automaton.states())
      .set("deterministic", automaton.is_deterministic())
      .set("max_heads", warm.heads)
      .set("vocabulary_us", vocabulary_us)
      .set("vocabulary_cached_us", vocabulary_cached_us)
      .set("grammar_cached_us", grammar_cached_us)
      .set("tokenizer_us", tokenizer_us)
      .set("compile", begin.compile.json())
      .set("compile_and_first_mask", begin.first_mask.json())
      .set("vocabulary_compile_and_first_mask", from_texts.json())
      .set("mask_cold", cold.mask.json())
      .set("mask_warm", warm.mask.json())
      .set("accept_cold", cold.accept.json())
      .set("accept_warm", warm.accept.json());
  if (!report.wants_json())
    for (const auto& [key, value] : report.result().members()) report.say(joined({key, ": ", value.dump()}));
  return ok;
}

}  // namespace cli
