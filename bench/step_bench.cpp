// One training step on the shape of Qwen3-0.6B with random weights: tokens/s, loss, FLOP, memory planned and measured,
// allocations. `--json` prints one object to stdout.
#include <sys/mman.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "../experts/expert-sql/expert.hpp"
#include "expert/expert.hpp"
#include "expert/plan/cost.hpp"
#include "median.hpp"
#include "peak.hpp"
#include "process_memory.hpp"
#include "run_options.hpp"

// Every allocation of the process, all threads: the executable's malloc comes before the C library's.
static std::atomic<std::int64_t> allocations{0};
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* malloc(std::size_t n) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t n) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(p, n);
}
}

namespace {

using namespace expert;

struct Options : bench::RunOptions {
  std::string adapter = "dora", quant = "int4", beside, expert, write_batch;
  std::int64_t batch = 1, seq = 512, document_length = 0, steps = 3;
  double loss_share = 1, dropout = 0;
  bool phases = false;
};

TokenBatch make_batch(const Options& o, std::int64_t vocab_size) {
  const RandomStream random(1, Purpose::shuffle);
  TokenBatch batch;
  batch.row_begin.push_back(0);
  for (std::int64_t row = 0; row < o.batch; ++row) {
    for (std::int64_t t = 0; t < o.seq; ++t) {
      const std::int64_t position = t % o.document_length, i = batch.tokens();
      const bool bears = static_cast<double>(random.uniform(static_cast<std::uint64_t>(3 * i + 2))) < o.loss_share;
      const auto id = [&](std::uint64_t at) {
        return static_cast<std::int32_t>(random.below(at, static_cast<std::uint32_t>(vocab_size)));
      };
      batch.input_ids.push_back(id(static_cast<std::uint64_t>(3 * i)));
      batch.positions.push_back(static_cast<std::int32_t>(position));
      batch.labels.push_back(bears ? id(static_cast<std::uint64_t>(3 * i + 1)) : ignore_index);
      batch.keys.push_back({0, 0, static_cast<std::int32_t>(i - position), static_cast<std::int32_t>(i + 1)});
    }
    batch.row_begin.push_back(batch.tokens());
  }
  return batch;
}

// {input_ids, labels}: (batch, seq) each, for another program to train on; labels[t] is what position t predicts.
void write_batch(const std::string& path, const TokenBatch& batch) {
  const auto rows = [&](const std::vector<std::int32_t>& numbers) {
    Json list = Json::array();
    for (std::size_t row = 0; row + 1 < batch.row_begin.size(); ++row) {
      Json one = Json::array();
      for (std::int64_t t = batch.row_begin[row]; t < batch.row_begin[row + 1]; ++t)
        one.push(Json(numbers[static_cast<std::size_t>(t)]));
      list.push(std::move(one));
    }
    return list;
  };
  write_file(path, Json::object().set("input_ids", rows(batch.input_ids)).set("labels", rows(batch.labels)).dump());
}

// Seconds of each phase in a step (mean), its FLOP, and the share of the peak of bf16 products measured afterwards.
Json phase_table(Cpu cpu, const PhaseClock& clock, const std::vector<double>& seconds, const StepFlops& flops) {
  const auto steps = static_cast<double>(seconds.size());
  const double flop[] = {flops.base_forward,
                         flops.base_backward,
                         flops.adapter_forward,
                         flops.adapter_backward,
                         flops.attention_forward,
                         flops.attention_backward,
                         flops.head};
  const double peak = bench::peak_flops(cpu, 5, true);
  double rest = std::accumulate(seconds.begin(), seconds.end(), 0.0) / steps;
  Json rows = Json::array();
  for (std::size_t i = 0; i < phase_names.size(); ++i) {
    const double s = clock.seconds[i] / steps;
    rest -= s;
    Json row = Json::object().set("phase", phase_names[i]).set("seconds", s);
    if (i < std::size(flop)) row.set("flop", flop[i]).set("of_peak", s > 0 ? flop[i] / s / peak : 0);
    rows.push(std::move(row));
  }
  return rows.push(Json::object().set("phase", "norms, rotations, activations, copies").set("seconds", rest));
}

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// A trainer of E, and its step over one batch.
template <class E>
struct Timed {
  Weights<E> weights;
  std::int64_t before = status_bytes("RssAnon");
  std::int64_t rows;
  Trainer<E> trainer;
  TokenBatch batch;

  Timed(const Options& o, CpuDevice& device)
      : weights(load_weights<E>(o.model, device, default_limits, o.cache)),
        rows(rows_at_once(o)),
        trainer(device, weights, trainer_options(o, rows)),
        batch(make_batch(o, E::model::vocab_size)) {}

  StepResult step() { return trainer.step({&batch, 1}, 1e-4); }
  double seconds() {
    const auto begin = Clock::now();
    step();
    return seconds_since(begin);
  }

 private:
  static std::int64_t rows_at_once(const Options& o) {
    std::int64_t rows = o.batch;
    while (rows > 1 &&
           (rows * o.seq > Trainer<E>::max_tokens || TrainingPlan<E>::bytes(rows * o.seq) > E::budget::bytes))
      --rows;
    return rows;
  }
  static TrainerOptions trainer_options(const Options& o, std::int64_t rows) {
    TrainerOptions options;
    options.dropout = static_cast<float>(o.dropout);
    options.sub_batch_tokens = rows * o.seq;
    return options;
  }
};

CpuDevice make_device(const Options& o) {
  return CpuDevice(o.threads, o.isa.empty() ? best_isa() : require_supported(isa_from_name(o.isa)));
}

template <class E>
Json run(const Options& o) {
  CpuDevice device = make_device(o);
  PhaseClock clock;
  if (o.phases) device.count_phases(clock);
  const auto start = Clock::now();
  Timed<E> timed(o, device);
  if (!o.write_batch.empty()) write_batch(o.write_batch, timed.batch);
  const double start_s = seconds_since(start);
  const double first_loss = timed.step().loss;  // touches every page
  clock = {};
  std::vector<double> seconds(static_cast<std::size_t>(o.steps));
  std::int64_t allocated = 0;
  for (double& step_seconds : seconds) {
    const std::int64_t count = allocations.load();
    step_seconds = timed.seconds();
    allocated = std::max(allocated, allocations.load() - count);
  }
  const double step_s = median(seconds);
  const TokenBatch& batch = timed.batch;
  Json json = Json::object();
  json.set("expert", type_name<E>())
      .set("model", E::model::name)
      .set("adapter", E::adapter::is_dora ? "dora"
                      : E::adapter::r > 0 ? "lora"
                                          : "none")
      .set("quant", E::quant::quantization)
      .set("batch", o.batch)
      .set("seq", o.seq)
      .set("doc_length", o.document_length)
      .set("threads", static_cast<std::int64_t>(o.threads))
      .set("isa", name_of(device.cpu().isa))
      .set("tokens_per_s", static_cast<double>(batch.tokens()) / step_s)
      .set("step_s", step_s)
      .set("start_s", start_s)
      .set("loss", first_loss)
      .set("model_flops", training_flops<E>(batch.tokens(), batch.loss_tokens(), o.document_length))
      .set("sub_batch", timed.rows)
      .set("recompute", name_of(TrainingPlan<E>::recompute))
      .set("planned_bytes", TrainingPlan<E>::bytes(timed.rows * o.seq))
      .set("peak_bytes", status_bytes("RssAnon") - timed.before)
      .set("weight_bytes", timed.weights.owned_bytes())
      .set("rss_peak_bytes", status_bytes("VmHWM"))
      .set("allocations_per_step", allocated);
  if (o.phases)
    json.set("phases", phase_table(device.cpu(), clock, seconds,
                                   step_flops<E>(batch.tokens(), batch.loss_tokens(), o.document_length)));
  return json;
}

// Steps of both by turns, which meet the same machine: seconds, and the median of the rounds' ratios.
template <class E, class Beside>
Json run_beside(const Options& o) {
  CpuDevice device = make_device(o);
  Timed<E> timed(o, device);
  Timed<Beside> beside(o, device);
  timed.step();
  beside.step();
  std::vector<double> seconds, others, ratios;
  for (std::int64_t i = 0; i < o.steps; ++i) {
    seconds.push_back(timed.seconds());
    others.push_back(beside.seconds());
    ratios.push_back(seconds.back() / others.back());
  }
  return Json::object()
      .set("expert", type_name<E>())
      .set("beside", type_name<Beside>())
      .set("batch", o.batch)
      .set("seq", o.seq)
      .set("threads", static_cast<std::int64_t>(o.threads))
      .set("isa", name_of(device.cpu().isa))
      .set("step_s", median(seconds))
      .set("beside_step_s", median(others))
      .set("least_step_s", *std::min_element(seconds.begin(), seconds.end()))
      .set("beside_least_step_s", *std::min_element(others.begin(), others.end()))
      .set("ratio", median(ratios));
}

template <class... Ps>
using Bench = Expert<Qwen3_0_6B, RopeNtkByParts<8192, 32768>, Compute<bf16>, Packing<4096>, Batch<32>, Ps...>;

template <class Quant>
Json with_adapter(const Options& o) {
  if (o.beside == "lora") return run_beside<Bench<DoRA<12>, Quant>, Bench<LoRA<12>, Quant>>(o);
  if (o.adapter == "lora") return run<Bench<LoRA<12>, Quant>>(o);
  if (o.adapter == "dora" && o.dropout > 0) return run<Bench<DoRAWithDropout<12>, Quant>>(o);
  if (o.adapter == "dora") return run<Bench<DoRA<12>, Quant>>(o);
  if constexpr (Quant::takes_gradient) {
    return run<Bench<NoAdapter, FullFineTune, Quant>>(o);
  } else {
    throw CLI::ValidationError("--adapter none trains the base, which needs --quant bf16");
  }
}

// With --expert: the type of a manifest as it is, so that its plan is what is measured.
Json of_expert(const Options& o) {
  if (o.expert == "tiny-sql") return run<TinySqlExpert>(o);
  if (o.expert == "sql-recompute") return run<With<SqlExpert<>, RecomputeLayers>>(o);
  return run<SqlExpert<>>(o);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times one training step on the shape of Qwen3-0.6B");
  Options o;
  std::string device = "cpu";
  app.add_option("--device", device)->check(CLI::IsMember({"cpu"}));
  app.add_option("--adapter", o.adapter)->check(CLI::IsMember({"lora", "dora", "none"}))->capture_default_str();
  app.add_option("--quant", o.quant)->check(CLI::IsMember({"bf16", "int8", "int4"}))->capture_default_str();
  app.add_option("--expert", o.expert, "an expert as its manifest says, in place of --adapter and --quant")
      ->check(CLI::IsMember({"sql", "sql-recompute", "tiny-sql"}));
  app.add_option("--batch", o.batch)->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--seq", o.seq)->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--doc-length", o.document_length, "tokens of each document; default: the row")
      ->check(CLI::Range(1, 4096));
  app.add_option("--loss-share", o.loss_share)->check(CLI::Range(0.0, 1.0))->capture_default_str();
  app.add_option("--dropout", o.dropout)->check(CLI::Range(0.0, 0.9))->capture_default_str();
  app.add_option("--steps", o.steps, "timed steps, after one that is not; the median counts")
      ->check(CLI::Range(1, 1000));
  app.add_option("--write-batch", o.write_batch, "JSON file for the batch, so that another program trains on it");
  app.add_flag("--phases", o.phases, "where the time of a step goes, with shares of the peak measured in this run");
  app.add_option("--beside", o.beside, "steps of DoRA and of this adapter by turns, and the median of their ratios")
      ->check(CLI::IsMember({"lora"}))
      ->excludes("--adapter", "--expert", "--dropout", "--write-batch", "--phases");
  bench::add_run_options(app, o);
  CLI11_PARSE(app, argc, argv);
  try {
    if (o.document_length == 0) o.document_length = o.seq;
    if (o.model.empty()) o.model = bench::random_base();
    const Json result = !o.expert.empty()   ? of_expert(o)
                        : o.quant == "bf16" ? with_adapter<Bf16Weights>(o)
                        : o.quant == "int8" ? with_adapter<Int8Quant>(o)
                                            : with_adapter<Int4Quant>(o);
    bench::print_result(o, result);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
