// Prompts and new tokens on the shape of Qwen3-0.6B with random weights: tokens/s of prefill and of decoding, and what
// share of the memory's bandwidth decoding reads at. `--json` prints one object to stdout.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "expert/expert.hpp"
#include "median.hpp"
#include "peak.hpp"
#include "process_memory.hpp"
#include "run_options.hpp"
#include "untrained_adapter.hpp"

namespace {

using namespace expert;

struct Options : bench::RunOptions {
  std::string adapter = "dora", quant = "int4", head = "none";
  std::int64_t rows = 1, prompt = 512, new_tokens = 64, repeats = 3;
};

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
Json run(const Options& o) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); };
  CpuDevice device(o.threads, o.isa.empty() ? best_isa() : require_supported(isa_from_name(o.isa)));
  Cpu cpu = device.cpu();
  const Clock::time_point loading = Clock::now();
  const Weights<E> weights = load_weights<E>(o.model, device, default_limits, o.cache);
  const double load_s = since(loading);
  const bool adapter = o.adapter != "none";
  const std::vector<float> values = untrained_adapter<E>();
  Generator<E> generator(device, weights, adapter ? values.data() : nullptr,
                         {.context_length = o.prompt + o.new_tokens, .rows = o.rows, .prefill_tokens = o.prompt});
  const RandomStream random(2, Purpose::sample);
  std::vector<std::vector<std::int32_t>> prompts(static_cast<std::size_t>(o.rows));
  std::uint64_t draw = 0;
  for (auto& prompt : prompts)
    for (std::int64_t i = 0; i < o.prompt; ++i)
      prompt.push_back(
          static_cast<std::int32_t>(random.below(draw++, static_cast<std::uint32_t>(E::model::vocab_size))));
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
  const std::int64_t bytes = bytes_of_pass(weights, o, adapter);
  Json json = Json::object();
  json.set("expert", type_name<E>())
      .set("model", E::model::name)
      .set("adapter", o.adapter)
      .set("quant", E::quant::quantization)
      .set("head", o.head)
      .set("rows", o.rows)
      .set("prompt", o.prompt)
      .set("new_tokens", o.new_tokens)
      .set("threads", static_cast<std::int64_t>(o.threads))
      .set("isa", name_of(cpu.isa))
      .set("load_s", load_s)
      .set("prefill_tokens_per_s", median(prefill))
      .set("decode_tokens_per_s", median(decode))
      .set("bytes_of_pass", bytes)
      .set("bandwidth_bytes_per_s", median(bandwidth))
      .set("bandwidth_share", passes_per_s * static_cast<double>(bytes) / median(bandwidth))
      .set("rss_peak_bytes", status_bytes("VmHWM"));
  return json;
}

template <class... Ps>
using Bench = Expert<Qwen3_0_6B, RopeNtkByParts<8192, 32768>, Compute<bf16>, Ps...>;

template <class Quant>
Json with_head(const Options& o) {
  if (o.adapter == "lora") return run<Bench<LoRA<12>, Quant>>(o);
  if (o.head == "int8") return run<Bench<DoRA<12>, Quant, HeadInt8>>(o);
  return run<Bench<DoRA<12>, Quant>>(o);
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
