// Answers for the expert E: rows -> the same rows with output, stop_reason, valid, tokens. Included by
// tools/experts/*.cpp only.
#pragma once
#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cli/answer_stream.hpp"
#include "cli/answering.hpp"
#include "cli/answers.hpp"
#include "cli/jobs.hpp"
#include "expert/data/row_fields.hpp"
#include "expert/generate.hpp"
#include "expert/kv_cache_file.hpp"

namespace cli {

inline constexpr ErrorCode answer_refused{317, "a generated answer is not valid"};
inline constexpr ErrorCode row_without_schema{352, "a row has no schema to narrow the grammar to"};

// The schema that an answer is bound to: of all rows, or the row's own.
inline PromptSchema schema_of(const JsonRow& row, const GenerateJob& job) {
  if (!job.schema.empty()) return {job.schema, job.schema_file};
  const expert::detail::RowFields fields(row, job.input, job.rows);
  const std::string where = "line " + std::to_string(row.line);
  for (const char* name : {"context", "schema"})
    if (std::string text = fields.optional(name); !text.empty())
      return {std::move(text), joined({job.input, ", ", where, ", /", name})};
  throw Error(row_without_schema, {.file = job.input,
                                   .where = where,
                                   .expected = "a field \"context\" or \"schema\"",
                                   .fix = "Add it to the row, or name a file with --schema"});
}

// Tokens that all prompts begin with; at least one of each is left to be computed.
inline std::span<const std::int32_t> common_prefix(std::span<const std::vector<std::int32_t>> prompts) {
  std::size_t n = prompts[0].size() - 1;
  for (const auto& prompt : prompts.subspan(1)) {
    n = std::min(n, prompt.size() - 1);
    const auto end = prompts[0].begin() + static_cast<std::ptrdiff_t>(n);
    n = static_cast<std::size_t>(std::mismatch(prompts[0].begin(), end, prompt.begin()).first - prompts[0].begin());
  }
  return std::span(prompts[0]).first(n);
}

// The generator's prefix from the file, or into it where there is none yet.
template <class E>
void use_kv_cache(Generator<E>& generator, std::span<const std::vector<std::int32_t>> prompts,
                  const std::vector<JsonRow>& rows, const GenerateJob& job, const Report& report) {
  if constexpr (!E::kv::persists) {
    throw Error(bad_command_line, {.where = "--kv-cache",
                                   .expected = "an expert with KvPersistence",
                                   .got = type_name<E>(),
                                   .fix = "Set /runtime/requires_kv_cache_persistence and compile that expert"});
  } else {
    const bool exists = path_exists(job.kv_cache);
    if (exists) {
      load_kv_cache(generator, job.kv_cache);
      for (std::size_t i = 0; i < prompts.size(); ++i)
        if (!generator.begins_with_prefix(prompts[i]))
          throw Error(prompt_refused,
                      {.file = job.input,
                       .where = "line " + std::to_string(rows[i].line),
                       .expected = "a prompt that begins with the " + std::to_string(generator.prefix().size()) +
                                   " tokens of " + expert::quoted(job.kv_cache, 200),
                       .fix = "Name another file: it is written where it does not exist"});
    } else if (const auto prefix = common_prefix(prompts); !prefix.empty()) {
      generator.share_prefix(prefix);
      save_kv_cache(generator, job.kv_cache);
    }
    report.say(joined({"kv cache: ", generator.prefix().size(), " shared tokens ", exists ? "read from " : "kept in ",
                       job.kv_cache}));
  }
}

// The rows of a job, what is asked by each and, where answers are bound to them, its schema.
struct Questions {
  std::vector<JsonRow> rows;
  std::vector<std::vector<std::int32_t>> prompts;
  std::vector<PromptSchema> schemas;
  std::size_t longest = 0;  // tokens of a prompt
};

// Throws E311 for a prompt that leaves no room for an answer, and what reader, shapes and template throw.
template <class E>
Questions read_questions(const GenerateJob& job, const Tokenizer& tokenizer) {
  Questions asked;
  const auto source = open_plain_or_gzip(job.input);
  JsonlReader reader(*source, job.input);
  RowOptions ask = job.rows;
  ask.needs_completion = false;
  constexpr std::int64_t most = Answering<E>::longest_context - 1;
  for (JsonRow row; reader.next(row);) {
    const Example example = read_example(row, job.input, ask);
    asked.prompts.push_back(encode_example<typename E::chat_template>(tokenizer, example, std::nullopt, true).ids);
    asked.longest = std::max(asked.longest, asked.prompts.back().size());
    if (std::cmp_greater(asked.prompts.back().size(), most))
      throw Error(prompt_refused, {.file = job.input,
                                   .where = "line " + std::to_string(row.line),
                                   .expected = "at most " + std::to_string(most) + " tokens",
                                   .got = std::to_string(asked.prompts.back().size()),
                                   .fix = "Shorten the prompt"});
    if (job.schema_bound) asked.schemas.push_back(schema_of(row, job));
    asked.rows.push_back(std::move(row));
  }
  return asked;
}

// Throws E401 for answers that are to be drawn again and cannot be: greedy ones would be the same, and those that were
// shown cannot be taken back.
inline void check_retries(const GenerateJob& job) {
  if (job.on_invalid != OnInvalid::retry) return;
  if (!job.options.do_sample)
    throw Error(bad_command_line, {.where = "--on-invalid retry",
                                   .expected = "answers that are drawn",
                                   .got = "greedy decoding, which gives the same answer again",
                                   .fix = "Use --on-invalid mark, or a temperature above 0"});
  if (job.stream)
    throw Error(bad_command_line, {.where = "--on-invalid retry",
                                   .expected = "answers that are shown when they are finished",
                                   .got = "--stream, which shows them before they are judged",
                                   .fix = "Use --on-invalid mark, or leave out --stream"});
}

template <class E>
ExitCode generate_expert(const GenerateJob& job, Report& report) {
  using Clock = std::chrono::steady_clock;
  check_decode_rows<E>(job.batch_size);
  check_retries(job);
  Answering<E> with(job, job.batch_size, report);
  Questions asked = read_questions<E>(job, with.text.tokenizer);
  std::vector<JsonRow>& rows = asked.rows;
  RowWriter writer(job.output);
  std::int64_t tokens = 0, stopped = 0, refused_answers = 0;
  const auto begin = Clock::now();
  if (!rows.empty()) {
    const std::int64_t wanted = static_cast<std::int64_t>(asked.longest) + job.options.max_new_tokens;
    const std::int64_t context =
        job.context_length > 0 ? job.context_length : std::min(wanted, Answering<E>::longest_context);
    Generator<E> generator =
        with.generator(context, decode_rows<E>(std::min<std::int64_t>(job.batch_size, std::ssize(rows))));
    if (!job.kv_cache.empty()) use_kv_cache<E>(generator, asked.prompts, rows, job, report);
    const auto draw = [&](std::size_t first, std::size_t count, const GenerateOptions& options,
                          const AnswerEvents& events) {
      const std::span schemas(asked.schemas);
      return answers_to(generator, with.text.tokenizer, std::span(std::as_const(asked.prompts)).subspan(first, count),
                        options, job.stop_sequences,
                        with.rules(job.schema_bound ? schemas.subspan(first, count) : schemas), events);
    };
    std::vector<std::int64_t> lines;
    for (const JsonRow& row : rows) lines.push_back(row.line);
    AnswerStream stream(stdout, report.wants_json(), std::move(lines));
    AnswerEvents events;
    if (job.stream)
      events = {.grew = [&](std::size_t row, std::string_view text) { stream.grew(row, text); },
                .ended = [&](std::size_t row, const Answer&) { stream.ended(row); }};
    std::vector<Answer> answers = draw(0, rows.size(), with.options, events);
    std::vector<std::optional<SyntaxVerdict>> verdicts(answers.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      verdicts[i] = with.judge(answers[i].text);
      for (std::int64_t retry = 1; job.on_invalid == OnInvalid::retry && retry <= job.retries; ++retry) {
        if (!verdicts[i] || verdicts[i]->valid) break;
        GenerateOptions again = with.options;
        again.seed = with.options.seed + static_cast<std::uint64_t>(retry);
        answers[i] = draw(i, 1, again, {}).front();
        verdicts[i] = with.judge(answers[i].text);
      }
      if (job.on_invalid == OnInvalid::error && verdicts[i] && !verdicts[i]->valid)
        throw Error(answer_refused, {.file = job.input,
                                     .where = "line " + std::to_string(rows[i].line),
                                     .expected = "an answer that is valid " + job.language,
                                     .got = verdicts[i]->message,
                                     .fix = "Use --on-invalid mark or retry, or more --max-new-tokens"});
      rows[i]
          .value.set("output", answers[i].text)
          .set("stop_reason", name_of(answers[i].stop_reason))
          .set("valid", verdicts[i] ? Json(verdicts[i]->valid) : Json())
          .set("tokens", answers[i].tokens);
      if (!answers[i].stop_sequence.empty()) rows[i].value.set("stop_sequence", answers[i].stop_sequence);
      if (verdicts[i] && !verdicts[i]->valid) rows[i].value.set("invalid", utf8_lossy(verdicts[i]->message));
      writer.write(rows[i].value);
      tokens += answers[i].tokens;
      stopped += answers[i].stop_reason == StopReason::eos || answers[i].stop_reason == StopReason::callback;
      refused_answers += verdicts[i] && !verdicts[i]->valid;
    }
  }
  writer.commit();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  char line[256];
  std::snprintf(line, sizeof line, "%s: %zu rows, %lld tokens in %.1f s (%.0f tokens/s), %lld ended by themselves",
                job.output.c_str(), rows.size(), static_cast<long long>(tokens), seconds,
                static_cast<double>(tokens) / seconds, static_cast<long long>(stopped));
  report.say(line);
  if (refused_answers > 0)
    report.say(joined({refused_answers, " answers are not valid ", job.language, " (", job.validation, ")"}));
  report.result()
      .set("rows", std::ssize(rows))
      .set("tokens", tokens)
      .set("seconds", seconds)
      .set("text_wait_s", with.text_wait_s)
      .set("invalid", refused_answers);
  return ok;
}

}  // namespace cli
