// Prompts and new tokens on the shape of Qwen3-0.6B with random weights: tokens/s of prefill and of decoding, and what
// share of the memory's bandwidth decoding reads at; or what a grammar costs while decoding. `--json` prints one object
// to stdout.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "expert/data/jsonl.hpp"
#include "expert/expert.hpp"
#include "expert/grammar/constraint.hpp"
#include "expert/grammar/grammar.hpp"
#include "expert/text/tokenizer.hpp"
#include "grammar_timing.hpp"
#include "median.hpp"
#include "peak.hpp"
#include "process_memory.hpp"
#include "run_options.hpp"
#include "untrained_adapter.hpp"

namespace {

using namespace expert;

struct Options : bench::RunOptions {
  std::string adapter = "dora", quant = "int4", head = "none";
  std::string grammar, tokenizer, texts;
  std::int64_t rows = 1, prompt = 512, new_tokens = 64, repeats = 3;
};

using Ids = std::vector<std::int32_t>;
using Clock = std::chrono::steady_clock;
double since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

// What one pass over few rows reads: packed projections, the head once more where it is a copy, the adapter, and the
// keys and values of a context.
template <class E>
std::int64_t bytes_of_pass(const Weights<E>& weights, const Options& o, bool adapter) {
  using M = typename E::model;
  using Plan = GenerationPlan<E>;
  std::int64_t bytes = 0;
  for (const auto& layer : weights.view().layers)
    for (const auto& p : layer.projections) {
      if constexpr (E::quant::kind == WeightKind::as_checkpoint) {
        bytes += p.out * p.in * std::int64_t{sizeof(bf16)};
      } else {
        bytes += p.packed.packed_bytes();
      }
    }
  const auto regions = Plan::regions(1, 1, 1, adapter);
  bytes +=
      E::head::head_bits == 8 ? regions[Plan::head].bytes : M::vocab_size * M::hidden_size * std::int64_t{sizeof(bf16)};
  bytes += regions[Plan::adapter].bytes;
  const std::int64_t context = o.prompt + o.new_tokens / 2;
  return bytes + o.rows * context * (regions[Plan::key_cache].bytes + regions[Plan::value_cache].bytes);
}

template <class E>
struct Loaded {
  explicit Loaded(const Options& o)
      : device(o.threads, o.isa.empty() ? best_isa() : require_supported(isa_from_name(o.isa))),
        weights(load_weights<E>(o.model, device, default_limits, o.cache)) {}

  CpuDevice device;
  Weights<E> weights;
};

std::vector<Ids> random_prompts(const Options& o, std::int64_t vocab_size) {
  const RandomStream random(2, Purpose::sample);
  std::vector<Ids> prompts(static_cast<std::size_t>(o.rows));
  std::uint64_t draw = 0;
  for (Ids& prompt : prompts)
    for (std::int64_t i = 0; i < o.prompt; ++i)
      prompt.push_back(static_cast<std::int32_t>(random.below(draw++, static_cast<std::uint32_t>(vocab_size))));
  return prompts;
}

template <class E>
Json describe(const Options& o, const Cpu& cpu) {
  return Json::object()
      .set("expert", type_name<E>())
      .set("model", E::model::name)
      .set("adapter", o.adapter)
      .set("quant", E::quant::quantization)
      .set("head", o.head)
      .set("rows", o.rows)
      .set("prompt", o.prompt)
      .set("threads", static_cast<std::int64_t>(o.threads))
      .set("isa", name_of(cpu.isa));
}

template <class E>
Json run(const Options& o) {
  const Clock::time_point loading = Clock::now();
  Loaded<E> base(o);
  const double load_s = since(loading);
  Cpu cpu = base.device.cpu();
  const bool adapter = o.adapter != "none";
  const std::vector<float> values = untrained_adapter<E>();
  Generator<E> generator(base.device, base.weights, adapter ? values.data() : nullptr,
                         {.context_length = o.prompt + o.new_tokens, .rows = o.rows, .prefill_tokens = o.prompt});
  const std::vector<Ids> prompts = random_prompts(o, E::model::vocab_size);
  std::vector<double> prefill, decode, bandwidth;
  std::vector<std::byte> memory(std::size_t{1} << 28, std::byte{1});
  for (std::int64_t i = 0; i <= o.repeats; ++i) {  // the first touches every page and does not count
    const Clock::time_point begin = Clock::now();
    double first_tokens = 0;
    generator.generate(prompts, {.max_new_tokens = o.new_tokens}, [&](std::size_t, std::span<const std::int32_t> ids) {
      if (ids.size() == 1) first_tokens = since(begin);
      return true;
    });
    if (i == 0) continue;
    prefill.push_back(static_cast<double>(o.rows * o.prompt) / first_tokens);
    decode.push_back(static_cast<double>(o.rows * (o.new_tokens - 1)) / (since(begin) - first_tokens));
    bandwidth.push_back(bench::peak_bandwidth(cpu, memory.data(), std::ssize(memory), 1));
  }
  const double passes_per_s = median(decode) / static_cast<double>(o.rows);
  const std::int64_t bytes = bytes_of_pass(base.weights, o, adapter);
  return describe<E>(o, cpu)
      .set("new_tokens", o.new_tokens)
      .set("load_s", load_s)
      .set("prefill_tokens_per_s", median(prefill))
      .set("decode_tokens_per_s", median(decode))
      .set("bytes_of_pass", bytes)
      .set("bandwidth_bytes_per_s", median(bandwidth))
      .set("bandwidth_share", passes_per_s * static_cast<double>(bytes) / median(bandwidth))
      .set("rss_peak_bytes", status_bytes("VmHWM"));
}

// What a constraint costs where its grammar follows one text, whatever the model writes: it is asked for every mask and
// for forced tokens, which are not taken, so that each token of the text is a pass of its own.
struct Following {
  GrammarConstraint& grammar;
  const Ids& text;
  std::vector<std::size_t> at = {};  // by prompt

  std::span<const std::uint64_t> mask(std::size_t prompt) { return grammar.mask(prompt); }
  std::span<const std::int32_t> forced(std::size_t prompt, std::int64_t limit) {
    grammar.forced(prompt, limit);
    return {};
  }
  bool fits(std::size_t prompt, std::int32_t) {
    if (!grammar.fits(prompt, text[at[prompt]])) throw std::runtime_error("a text cannot be ended in time");
    return true;
  }
  bool accept(std::size_t prompt, std::int32_t) { return grammar.accept(prompt, text[at[prompt]++]); }
};

// The texts' tokens, of those that the grammar accepts.
std::vector<Ids> texts_to_follow(const Options& o, const Tokenizer& tokenizer, TokenMasks& masks) {
  std::vector<Ids> texts;
  FileSource file(o.texts);
  JsonlReader reader(file, o.texts);
  bench::PassTimes ignored;
  for (JsonRow row; std::ssize(texts) < o.repeats && reader.next(row);) {
    const Json* text = row.value.find("text");
    if (text == nullptr || !text->is_string()) throw std::runtime_error(o.texts + ": expected rows {\"text\": ...}");
    Ids ids = tokenizer.encode(text->as_string(), SpecialTokens::as_text);
    if (ids.size() > 1 && bench::follow(masks, ids, ignored)) texts.push_back(std::move(ids));
  }
  if (texts.empty()) throw std::runtime_error(o.texts + ": the grammar accepts no text of it");
  return texts;
}

// Each text's tokens are decoded twice, with the grammar and without, and whichever was first the last time is second.
// The masks' memo is empty before the first text and kept for the later ones, as in a process that serves requests.
template <class E>
Json run_with_grammar(const Options& o) {
  constexpr std::int64_t room = 256;  // tokens that a text might still get: its shortest end is looked for meanwhile
  const Tokenizer tokenizer = Tokenizer::load(o.tokenizer);
  const Vocabulary vocabulary(E::model::vocab_size, {}, [&](std::int32_t id) {
    return tokenizer.is_special(id) ? std::string_view() : tokenizer.token_bytes(id);
  });
  const std::string grammar = read_file(o.grammar, default_limits.grammar_bytes);
  const GrammarAutomaton automaton(o.grammar.ends_with(".json") ? parse_json_schema(grammar, o.grammar)
                                                                : parse_gbnf(grammar, o.grammar));
  const std::vector<Ids> texts = [&] {
    TokenMasks masks(automaton, vocabulary);
    return texts_to_follow(o, tokenizer, masks);
  }();
  const auto longest = std::max_element(texts.begin(), texts.end(), [](const Ids& a, const Ids& b) {
                         return a.size() < b.size();
                       })->size();
  Loaded<E> base(o);
  const std::vector<float> values = untrained_adapter<E>();
  Generator<E> generator(
      base.device, base.weights, o.adapter != "none" ? values.data() : nullptr,
      {.context_length = o.prompt + static_cast<std::int64_t>(longest), .rows = o.rows, .prefill_tokens = o.prompt});
  const std::vector<Ids> prompts = random_prompts(o, E::model::vocab_size);
  TokenMasks masks(automaton, vocabulary);
  // Seconds behind the first token of the last row.
  const auto decode = [&](const Ids& text, bool with_grammar) {
    Clock::time_point begin;
    const auto first = [&](std::size_t, std::span<const std::int32_t> ids) {
      if (ids.size() == 1) begin = Clock::now();
      return true;
    };
    const GenerateOptions options{.max_new_tokens = std::ssize(text)};
    if (with_grammar) {
      GrammarConstraint constraint(masks, prompts.size(), {}, options.max_new_tokens + room);
      generator.generate(prompts, options, first,
                         Following{constraint, text, std::vector<std::size_t>(prompts.size())});
    } else {
      generator.generate(prompts, options, first);
    }
    return since(begin);
  };
  decode(texts[0], false);  // touches every page
  std::vector<double> ratios;
  double seconds[2] = {};
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    double of_text[2];
    for (const bool second : {false, true}) {
      const bool with_grammar = second != (i % 2 == 1);
      of_text[with_grammar] = decode(texts[i], with_grammar);
    }
    ratios.push_back(of_text[false] / of_text[true]);
    for (const bool with_grammar : {false, true}) seconds[with_grammar] += of_text[with_grammar];
    tokens += o.rows * (std::ssize(texts[i]) - 1);
  }
  return describe<E>(o, base.device.cpu())
      .set("grammar", o.grammar)
      .set("texts", std::ssize(texts))
      .set("tokens", tokens)
      .set("decode_tokens_per_s", static_cast<double>(tokens) / seconds[false])
      .set("grammar_tokens_per_s", static_cast<double>(tokens) / seconds[true])
      .set("grammar_ratio", seconds[false] / seconds[true])
      .set("grammar_ratio_median", median(ratios));
}

template <class E>
Json measure(const Options& o) {
  return o.grammar.empty() ? run<E>(o) : run_with_grammar<E>(o);
}

template <class... Ps>
using Bench = Expert<Qwen3_0_6B, RopeNtkByParts<8192, 32768>, Compute<bf16>, Ps...>;

template <class Quant>
Json with_head(const Options& o) {
  if (o.adapter == "lora") return measure<Bench<LoRA<12>, Quant>>(o);
  if (o.head == "int8") return measure<Bench<DoRA<12>, Quant, HeadInt8>>(o);
  return measure<Bench<DoRA<12>, Quant>>(o);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times prefill and greedy decoding on the shape of Qwen3-0.6B");
  Options o;
  app.add_option("--adapter", o.adapter, "unmerged; lora goes with --head none")
      ->check(CLI::IsMember({"lora", "dora", "none"}))
      ->capture_default_str();
  app.add_option("--quant", o.quant)->check(CLI::IsMember({"bf16", "int8", "int4"}))->capture_default_str();
  app.add_option("--head", o.head, "head_quantization")->check(CLI::IsMember({"none", "int8"}))->capture_default_str();
  app.add_option("--rows", o.rows, "sequences at once")->check(CLI::IsMember({1, 2, 4, 8}))->capture_default_str();
  app.add_option("--prompt", o.prompt, "tokens of each prompt")->check(CLI::Range(1, 8192))->capture_default_str();
  app.add_option("--new", o.new_tokens, "new tokens of each sequence")
      ->check(CLI::Range(2, 8192))
      ->capture_default_str();
  app.add_option("--repeats", o.repeats, "timed runs, after one that is not; medians count")
      ->check(CLI::Range(1, 1000));
  auto* grammar = app.add_option("--grammar", o.grammar,
                                 "GBNF or JSON Schema (*.json): decode texts of it with the grammar and without");
  auto* tokenizer = app.add_option("--tokenizer", o.tokenizer, "tokenizer.json of that grammar's tokens");
  auto* texts =
      app.add_option("--texts", o.texts, "JSON lines {text}; the first --repeats that it accepts are decoded");
  for (auto* option : {grammar, tokenizer, texts})
    for (auto* needed : {grammar, tokenizer, texts})
      if (option != needed) option->needs(needed);
  bench::add_run_options(app, o);
  CLI11_PARSE(app, argc, argv);
  try {
    if (o.adapter == "lora" && o.head != "none") throw CLI::ValidationError("--adapter lora goes with --head none");
    if (o.model.empty()) o.model = bench::random_base();
    const Json result = o.quant == "bf16"   ? with_head<Bf16Weights>(o)
                        : o.quant == "int8" ? with_head<Int8Quant>(o)
                                            : with_head<Int4Quant>(o);
    bench::print_result(o, result);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
