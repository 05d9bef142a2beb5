// What packing is worth: the same documents, lognormal lengths with a mean of 108 tokens, trained on in batches that
// are padded to their longest (drawn at random, or grouped by length), laid end to end without padding, and packed. The
// time for a token of a document, in turns, against what the counts of token places promise.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <numbers>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "expert/expert.hpp"
#include "median.hpp"
#include "run_options.hpp"

namespace {

using namespace expert;

struct Options : bench::RunOptions {
  std::string adapter = "lora";
  std::int64_t documents = 6400, batch = 32, batches = 4, max_length = 512;
  std::vector<std::string> layouts;
  int rounds = 1;
};

Documents draw_documents(const Options& o, std::int64_t vocab_size) {
  constexpr double mean_of_log = 4.495, sigma = 0.619;  // mean 108.5, 95 % below 248
  const RandomStream random(1, Purpose::shuffle);
  std::uint64_t drawn = 0;
  const auto uniform = [&] { return (static_cast<double>(random.uniform(drawn++)) + 0x1p-25) / (1 + 0x1p-24); };
  Documents documents;
  std::vector<std::int32_t> ids;
  for (std::int64_t d = 0; d < o.documents; ++d) {
    const double angle = 2 * std::numbers::pi * uniform();
    const double normal = std::sqrt(-2 * std::log(uniform())) * std::cos(angle);
    const auto length = static_cast<std::int64_t>(std::lround(std::exp(mean_of_log + sigma * normal)));
    ids.resize(static_cast<std::size_t>(std::clamp<std::int64_t>(length, 2, o.max_length)));
    for (std::int32_t& id : ids)
      id = static_cast<std::int32_t>(random.below(drawn++, static_cast<std::uint32_t>(vocab_size)));
    documents.add(ids, std::vector<std::uint8_t>(ids.size(), 1));
  }
  return documents;
}

// What padding costs: transformers' loss computes logits for all places, ours for those with a label.
enum class Padding { none, in_layers, in_layers_and_loss };

// Each row as long as the longest: padding sees its row's document.
TokenBatch padded(const TokenBatch& batch, Padding padding) {
  std::int64_t longest = 0;
  for (std::size_t row = 0; row + 1 < batch.row_begin.size(); ++row)
    longest = std::max(longest, batch.row_begin[row + 1] - batch.row_begin[row]);
  TokenBatch out;
  out.documents = batch.documents;
  out.row_begin.push_back(0);
  for (std::size_t row = 0; row + 1 < batch.row_begin.size(); ++row) {
    const std::int64_t begin = batch.row_begin[row], n = batch.row_begin[row + 1] - begin;
    const auto start = static_cast<std::int32_t>(out.tokens());
    for (std::int64_t t = 0; t < longest; ++t) {
      const auto at = static_cast<std::size_t>(begin + std::min(t, n - 1));
      out.input_ids.push_back(t < n ? batch.input_ids[at] : 0);
      out.positions.push_back(static_cast<std::int32_t>(t));
      out.labels.push_back(padding == Padding::in_layers_and_loss ? 0 : t < n ? batch.labels[at] : ignore_index);
      out.keys.push_back({0, 0, start, start + static_cast<std::int32_t>(std::min(t, n - 1)) + 1});
    }
    out.row_begin.push_back(out.tokens());
  }
  return out;
}

struct Layout {
  const char* name;
  PackedRows rows;
  std::int64_t rows_at_once;
  Padding padding;
  std::vector<TokenBatch> batches{};
  std::vector<double> us_per_token{};  // of a document; one for each round
  std::int64_t places = 0;

  void make_batches(const Documents& documents) {
    for (std::int64_t row = 0; row < std::ssize(rows.rows); row += rows_at_once) {
      batches.push_back(make_batch(documents, rows, row, rows_at_once));
      if (padding != Padding::none) batches.back() = padded(batches.back(), padding);
      places += batches.back().tokens();
    }
  }
};

// Of an epoch grouped by length the documents of some batches, from each part of the epoch another one.
Documents some_groups(const Options& o, const Documents& epoch) {
  PackingOptions grouped{.max_seq_length = o.max_length, .packed = false, .group_by_length = true};
  grouped.batch_size = o.batch;
  const PackedRows rows = pack(epoch, grouped, 0);
  const std::int64_t n = std::ssize(rows.rows) / o.batch;
  if (n < o.batches) throw std::invalid_argument("--documents are too few for --batches");
  Documents documents;
  for (std::int64_t i = 0; i < o.batches; ++i) {
    const std::int64_t b = n * (2 * i * o.batches + 2 * i + 1) / (2 * o.batches * o.batches);
    for (std::int64_t row = b * o.batch; row < (b + 1) * o.batch; ++row) {
      const TokenBatch one = make_batch(epoch, rows, row, 1);
      documents.add(one.input_ids, std::vector<std::uint8_t>(one.input_ids.size(), 1));
    }
  }
  return documents;
}

template <class E>
Json run(const Options& o) {
  CpuDevice device(o.threads, o.isa.empty() ? best_isa() : require_supported(isa_from_name(o.isa)));
  const Weights<E> weights = load_weights<E>(o.model, device, default_limits, o.cache);
  constexpr std::int64_t row = E::packing::max_seq_length;
  TrainerOptions options;
  options.sub_batch_tokens = 2 * row;
  Trainer<E> trainer(device, weights, options);
  const Documents documents = some_groups(o, draw_documents(o, E::model::vocab_size));
  const PackedRows random = pack(documents, {.max_seq_length = row, .packed = false}, 0);
  PackedRows in_order = random;
  for (std::int64_t d = 0; d < documents.size(); ++d) in_order.rows[static_cast<std::size_t>(d)] = {d};
  std::vector<Layout> layouts;
  for (const Layout& layout :
       {Layout{"random-all-logits", random, o.batch, Padding::in_layers_and_loss},
        Layout{"random", random, o.batch, Padding::in_layers}, Layout{"grouped", in_order, o.batch, Padding::in_layers},
        Layout{"not-padded", random, o.batch, Padding::none}})
    if (o.layouts.empty() || std::find(o.layouts.begin(), o.layouts.end(), layout.name) != o.layouts.end())
      layouts.push_back(layout);
  layouts.push_back({"packed", pack(documents, {.max_seq_length = row}, 0), 2, Padding::none});
  for (Layout& layout : layouts) layout.make_batches(documents);
  const Layout& packed = layouts.back();
  const auto tokens = static_cast<double>(packed.places);
  trainer.step({&packed.batches[0], 1}, 1e-4);  // touches every page
  for (int round = 0; round < o.rounds; ++round) {
    for (Layout& layout : layouts) layout.us_per_token.push_back(0);
    for (std::size_t b = 0, more = 1; more > 0; ++b) {
      more = 0;
      for (Layout& layout : layouts) {
        if (b >= layout.batches.size()) continue;
        more += b + 1 < layout.batches.size();
        const auto begin = std::chrono::steady_clock::now();
        trainer.step({&layout.batches[b], 1}, 1e-4);
        const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - begin;
        layout.us_per_token.back() += time.count() / tokens;
      }
    }
  }
  Json rows = Json::array();
  for (const Layout& layout : layouts) {
    Json times = Json::array();
    for (const double time : layout.us_per_token) times.push(Json(time));
    std::vector<double> gains;
    for (std::size_t i = 0; i < layout.us_per_token.size(); ++i)
      gains.push_back(layout.us_per_token[i] / packed.us_per_token[i]);
    const double gain = median(gains), ideal = static_cast<double>(layout.places) / tokens;
    rows.push(Json::object()
                  .set("layout", layout.name)
                  .set("batches", std::ssize(layout.batches))
                  .set("places_per_token", ideal)
                  .set("us_per_token", std::move(times))
                  .set("gain_of_packing", gain)
                  .set("of_ideal", gain / ideal));
  }
  return Json::object()
      .set("expert", type_name<E>())
      .set("threads", static_cast<std::int64_t>(o.threads))
      .set("isa", name_of(device.cpu().isa))
      .set("documents", documents.size())
      .set("tokens", packed.places)
      .set("layouts", std::move(rows));
}

template <class Adapter>
using Bench =
    Expert<Qwen3_0_6B, RopeNtkByParts<8192, 32768>, Compute<bf16>, Packing<2048>, Batch<32>, Int4Quant, Adapter>;

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times training on the same documents padded, grouped by length, and packed");
  Options o;
  app.add_option("--adapter", o.adapter)->check(CLI::IsMember({"lora", "dora"}))->capture_default_str();
  app.add_option("--documents", o.documents, "of the epoch that is grouped by length")
      ->check(CLI::Range(64, 100000))
      ->capture_default_str();
  app.add_option("--batch", o.batch, "documents of a batch that is not packed")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--batches", o.batches, "of the grouped epoch, whose documents all layouts have")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--layouts", o.layouts, "beside the packed one; default: all")
      ->check(CLI::IsMember({"random-all-logits", "random", "grouped", "not-padded"}))
      ->delimiter(',');
  app.add_option("--max-length", o.max_length)->check(CLI::Range(2, 2048))->capture_default_str();
  app.add_option("--rounds", o.rounds, "the median counts")->check(CLI::Range(1, 100))->capture_default_str();
  bench::add_run_options(app, o);
  CLI11_PARSE(app, argc, argv);
  try {
    if (o.model.empty()) o.model = bench::random_base();
    bench::print_result(o, o.adapter == "dora" ? run<Bench<DoRA<12>>>(o) : run<Bench<LoRA<12>>>(o));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
