// Answers for the expert E: rows -> the same rows with output, stop_reason, valid, tokens. Included by
// tools/experts/*.cpp only.
#pragma once
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/answers.hpp"
#include "cli/jobs.hpp"
#include "cli/train_job.hpp"
#include "expert/adapter_file.hpp"
#include "expert/generate.hpp"

namespace cli {

template <class E>
ExitCode generate_expert(const GenerateJob& job, Report& report) {
  namespace fs = std::filesystem;
  using Clock = std::chrono::steady_clock;
  CpuDevice device(job.threads);
  const Weights<E> weights = load_weights<E>(job.model, device);
  const Tokenizer tokenizer = Tokenizer::load(fs::path(job.model) / "tokenizer.json");
  check_vocabulary(tokenizer, E::model::vocab_size, (fs::path(job.model) / "tokenizer.json").string());
  GenerateOptions options = job.options;
  options.eos_token_id = end_tokens(job.model, weights.config());
  std::vector<float> adapter;
  if constexpr (!E::tuning::trains_base)
    if (!job.adapter.empty()) adapter = load_adapter<E>(job.adapter);

  const auto source = open_plain_or_gzip(job.input);
  JsonlReader reader(*source, job.input);
  std::vector<JsonRow> rows;
  std::vector<std::vector<std::int32_t>> prompts;
  RowOptions ask = job.rows;
  ask.needs_completion = false;
  std::size_t longest = 0;
  const std::int64_t most = E::rope::longest_context(E::model::max_position_embeddings) - 1;
  for (JsonRow row; reader.next(row);) {
    const Example example = read_example(row, job.input, ask);
    prompts.push_back(encode_example<typename E::chat_template>(tokenizer, example, std::nullopt, true).ids);
    longest = std::max(longest, prompts.back().size());
    if (std::cmp_greater(prompts.back().size(), most))
      throw Error(prompt_refused, {.file = job.input,
                                   .where = "line " + std::to_string(row.line),
                                   .expected = "at most " + std::to_string(most) + " tokens",
                                   .got = std::to_string(prompts.back().size()),
                                   .fix = "Shorten the prompt"});
    rows.push_back(std::move(row));
  }
  RowWriter writer(job.output);
  std::int64_t tokens = 0, stopped = 0;
  const auto begin = Clock::now();
  if (!rows.empty()) {
    const std::int64_t wanted = static_cast<std::int64_t>(longest) + options.max_new_tokens;
    const std::int64_t context = job.context_length > 0 ? job.context_length : std::min(wanted, most + 1);
    Generator<E> generator(
        device, weights, adapter.empty() ? nullptr : adapter.data(),
        {.context_length = context, .rows = std::min<std::int64_t>(job.batch_size, std::ssize(rows))});
    const std::vector<Answer> answers = answers_to(generator, tokenizer, prompts, options, job.stop_sequences);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      rows[i]
          .value.set("output", answers[i].text)
          .set("stop_reason", name_of(answers[i].stop_reason))
          .set("valid", nullptr)  // no parser is built yet
          .set("tokens", answers[i].tokens);
      writer.write(rows[i].value);
      tokens += answers[i].tokens;
      stopped += answers[i].stop_reason == StopReason::eos || answers[i].stop_reason == StopReason::callback;
    }
  }
  writer.commit();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  char line[256];
  std::snprintf(line, sizeof line, "%s: %zu rows, %lld tokens in %.1f s (%.0f tokens/s), %lld ended by themselves",
                job.output.c_str(), rows.size(), static_cast<long long>(tokens), seconds,
                static_cast<double>(tokens) / seconds, static_cast<long long>(stopped));
  report.say(line);
  report.result().set("rows", std::ssize(rows)).set("tokens", tokens).set("seconds", seconds);
  return ok;
}

}  // namespace cli
