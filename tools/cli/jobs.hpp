// What `train`, `generate`, `chat` and `bench` do with one compiled expert: declared here, instantiated once per expert
// in tools/experts.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/common.hpp"
#include "expert/data/filter.hpp"
#include "expert/data/shapes.hpp"
#include "expert/generate.hpp"
#include "expert/grammar/gbnf.hpp"
#include "expert/grammar/json_schema.hpp"
#include "expert/manifest.hpp"
#include "expert/optimizer.hpp"
#include "expert/training_run.hpp"
#include "expert/weights.hpp"

namespace cli {

// All that a run depends on, resolved: manifest, flags, defaults.
struct TrainJob {
  std::string model, data, valid, out;  // valid: rows for eval_loss; empty: none
  std::string cache;                    // of packed weights; empty: none, here and below
  std::string test = {};                // rows that must not be among those of data; empty: none
  bool resume = false;
  int threads = 1;
  OptimizerOptions optimizer;
  TrainingRunOptions run;
  std::int64_t gradient_accumulation_steps = 1;
  double dropout = 0;
  std::uint64_t seed = 42;
  bool group_by_length = false, streaming = false;
  RowOptions rows;
  RowFilterOptions filter;                       // of the training rows
  std::vector<std::string> command = {};         // the words of the command line, to be shown for a resume
  std::int64_t samples = 5;                      // rows that base and expert answer for the report
  std::vector<std::string> stop_sequences = {};  // end those answers
  Manifest manifest = {};                        // with the settings of the run
  Json record = Json::object();                  // run.json, as far as it is known before the base is read
};

// text: GBNF, or with is_schema a JSON Schema; name: of the type or file. Both empty: any text.
struct GrammarSource {
  std::string name, text;
  bool is_schema = false;
  bool built_in = false;  // one of this program's own

  bool constrains() const { return !name.empty(); }
  bool is_of_json() const { return is_schema || (built_in && name == "json"); }
  GrammarSyntax parse() const { return is_schema ? parse_json_schema(text, name) : parse_gbnf(text, name); }
};

// What happens to an answer that its validation refuses.
enum class OnInvalid : std::uint8_t { mark, retry, error };

// What answers are made with, resolved: of `generate` and of `chat`.
struct AnswerJob {
  std::string model, cache, adapter;  // adapter empty: the base alone
  int threads = 1;
  std::int64_t context_length = 0;  // 0: of generate the longest prompt + max_new_tokens, of chat 2048 where it may be
  GenerateOptions options;
  std::vector<std::string> stop_sequences;
  GrammarSource grammar;             // of the answers
  bool schema_bound = false;         // narrow the grammar to the names of a schema
  std::string schema, schema_file;   // of all answers; empty: each row has its own
  std::string validation, language;  // "none", "parser" or "parser-strict", and of what
  RowOptions rows;
};

struct GenerateJob : AnswerJob {
  std::string input, output;
  std::int64_t batch_size = 8;
  OnInvalid on_invalid = OnInvalid::mark;
  std::int64_t retries = 3;
  std::string kv_cache;  // keys and values of what all prompts begin with; empty: they are not kept
  bool stream = false;   // the answers to stdout too, as they grow
};

struct ChatJob : AnswerJob {
  std::string system;  // the message before the first turn; empty: none
};

struct BenchJob {
  std::string model, cache, adapter, record;  // adapter empty: an untrained one; record empty: not written
  int threads = 1;
  std::int64_t prompt_tokens = 256, new_tokens = 32;
};

// The base of a job, from its cache where it is there; what became of that is said.
template <class E, class Job>
Weights<E> load_base(const Job& job, CpuDevice& device, const Report& report) {
  Weights<E> weights = load_weights<E>(job.model, device, default_limits, job.cache);
  if (!weights.cache_note().empty()) report.say(weights.cache_note());
  return weights;
}

template <class E>
ExitCode train_expert(const TrainJob& job, Report& report);
template <class E>
ExitCode generate_expert(const GenerateJob& job, Report& report);
template <class E>
ExitCode chat_expert(const ChatJob& job, Report& report);
template <class E>
ExitCode bench_expert(const BenchJob& job, Report& report);

}  // namespace cli
