// An AnswerJob -> its base, adapter, tokenizer, grammar and judge, loaded: what `generate` and `chat` answer with.
// Included by the translation units of the experts only.
#pragma once
#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/answers.hpp"
#include "cli/cached.hpp"
#include "cli/jobs.hpp"
#include "cli/judge.hpp"
#include "cli/train_job.hpp"
#include "expert/adapter_file.hpp"
#include "expert/generate.hpp"

namespace cli {

// What answers are written with and kept to.
struct AnswerText {
  Tokenizer tokenizer;
  std::vector<std::int32_t> end_tokens;
  std::unique_ptr<GrammarMasks> masks;  // null: any text
  std::vector<std::string> notes;       // what became of the caches
};
inline AnswerText read_answer_text(const AnswerJob& job, std::int64_t vocab_size) {
  const std::filesystem::path directory(job.model);
  const std::string file = (directory / "tokenizer.json").string();
  CachedTokenizer read = cached_tokenizer(file, job.cache);
  check_vocabulary(read.tokenizer, vocab_size, file);
  std::vector<std::int32_t> ends = end_tokens(job.model, read_hf_config((directory / "config.json").string()));
  std::vector<std::string> notes{read.note};
  std::unique_ptr<GrammarMasks> masks;
  if (job.grammar.constrains())
    masks = grammar_masks(job.grammar, read, vocab_size, ends, job.cache,
                          [&](const std::string& note) { notes.push_back(note); });
  return {std::move(read.tokenizer), std::move(ends), std::move(masks), std::move(notes)};
}

// Not to be moved: the masks name the grammar. The text is read beside the base, whose weights take longer: a grammar
// is ready when they are.
template <class E>
struct Answering {
  static constexpr std::int64_t longest_context = E::rope::longest_context(E::model::max_position_embeddings);

  // rows: answers that are made at once.
  Answering(const AnswerJob& job, std::int64_t rows, const Report& report)
      : judge(job.validation, job.language, job.grammar),  // what is absent is said first
        reading(std::async(std::launch::async, [&job] { return read_answer_text(job, E::model::vocab_size); })),
        device(job.threads),
        weights(load_base<E>(job, device, report)),
        weights_at(Clock::now()),
        text(reading.get()),
        text_wait_s(std::chrono::duration<double>(Clock::now() - weights_at).count()),
        options(job.options),
        names_once(job.grammar.is_of_json()) {
    for (const std::string& note : text.notes) say_note(report, note);
    options.eos_token_id = text.end_tokens;
    if constexpr (!E::tuning::trains_base)
      if (!job.adapter.empty()) adapter = load_adapter<E>(job.adapter);
    if (job.schema_bound) bound = std::make_unique<SchemaMasks>(job.grammar, text.masks->vocabulary, rows);
  }
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;

  Generator<E> generator(std::int64_t context_length, std::int64_t rows) {
    return Generator<E>(device, weights, adapter.empty() ? nullptr : adapter.data(),
                        {.context_length = context_length, .rows = rows});
  }
  // schemas: one for each prompt, where answers are bound to them.
  AnswerRules rules(std::span<const PromptSchema> schemas) const {
    return {text.masks.get(), bound.get(), bound ? schemas : std::span<const PromptSchema>(), names_once};
  }

  using Clock = std::chrono::steady_clock;
  AnswerJudge judge;
  std::future<AnswerText> reading;
  CpuDevice device;
  Weights<E> weights;
  Clock::time_point weights_at;
  AnswerText text;
  double text_wait_s;          // how much longer than the base the text took
  GenerateOptions options;     // the job's, with the model's end tokens
  std::vector<float> adapter;  // empty: the base alone
  std::unique_ptr<SchemaMasks> bound;
  bool names_once;
};

}  // namespace cli
