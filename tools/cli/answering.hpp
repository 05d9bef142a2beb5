// An AnswerJob -> its base, adapter, tokenizer, grammar and judge, loaded: what `generate` and `chat` answer with.
// Included by the translation units of the experts only.
#pragma once
#include <filesystem>
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

// Not to be moved: the masks name the grammar.
template <class E>
struct Answering {
  static constexpr std::int64_t longest_context = E::rope::longest_context(E::model::max_position_embeddings);

  // rows: answers that are made at once.
  Answering(const AnswerJob& job, std::int64_t rows, const Report& report)
      : judge(job.validation, job.language, job.grammar),  // what is absent is said first
        device(job.threads),
        weights(load_base<E>(job, device, report)),
        tokenizer(load_tokenizer(tokenizer_file(job), job.cache, report)),
        options(job.options) {
    check_vocabulary(tokenizer, E::model::vocab_size, tokenizer_file(job));
    options.eos_token_id = end_tokens(job.model, weights.config());
    if constexpr (!E::tuning::trains_base)
      if (!job.adapter.empty()) adapter = load_adapter<E>(job.adapter);
    if (job.grammar.constrains())
      masks = std::make_unique<GrammarMasks>(
          job.grammar,
          load_vocabulary(texts_of(tokenizer, E::model::vocab_size, options.eos_token_id), job.cache, report));
    if (job.schema_bound) bound = std::make_unique<SchemaMasks>(job.grammar, masks->vocabulary, rows);
  }
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;

  Generator<E> generator(std::int64_t context_length, std::int64_t rows) {
    return Generator<E>(device, weights, adapter.empty() ? nullptr : adapter.data(),
                        {.context_length = context_length, .rows = rows});
  }
  // schemas: one for each prompt, where answers are bound to them.
  AnswerRules rules(std::span<const PromptSchema> schemas) const {
    return {masks.get(), bound.get(), bound ? schemas : std::span<const PromptSchema>()};
  }

  AnswerJudge judge;
  CpuDevice device;
  Weights<E> weights;
  Tokenizer tokenizer;
  GenerateOptions options;     // the job's, with the model's end tokens
  std::vector<float> adapter;  // empty: the base alone
  std::unique_ptr<GrammarMasks> masks;
  std::unique_ptr<SchemaMasks> bound;

 private:
  static std::string tokenizer_file(const AnswerJob& job) {
    return (std::filesystem::path(job.model) / "tokenizer.json").string();
  }
};

}  // namespace cli
