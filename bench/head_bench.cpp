// A trained expert's answers, read token by token with the head of the checkpoint and with its int8 copy: how often
// both choose the same token, and the perplexity of the answers under each.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "expert/expert.hpp"
#include "experts/expert-sql/expert.hpp"
#include "run_options.hpp"

namespace {

using namespace expert;

// Of one head: what it would have chosen at each answer token, and -log p of the tokens that stand there.
struct Reading {
  std::vector<std::int32_t> chosen;
  double nll = 0;
};

template <class E>
Reading read(CpuDevice& device, const std::string& model, const std::vector<float>& adapter, const Documents& documents,
             std::int64_t count) {
  std::int64_t longest = 1;
  for (std::int64_t d = 0; d < count; ++d) longest = std::max(longest, documents.length(d));
  const Weights<E> weights = load_weights<E>(model, device);
  Generator<E> generator(device, weights, adapter.data(), {.context_length = longest, .prefill_tokens = longest});
  Reading reading;
  for (std::int64_t d = 0; d < count; ++d) {
    const std::int64_t begin = documents.begin[static_cast<std::size_t>(d)], n = documents.length(d);
    const auto id = [&](std::int64_t i) { return documents.input_ids[static_cast<std::size_t>(begin + i)]; };
    const auto bears = [&](std::int64_t i) { return documents.bears_loss[static_cast<std::size_t>(begin + i)] != 0; };
    generator.reset(0);
    std::vector<std::int32_t> waiting;  // until the next token of an answer
    for (std::int64_t i = 0; i + 1 < n; ++i) {
      waiting.push_back(id(i));
      if (!bears(i + 1)) continue;
      const auto logits = generator.append(0, waiting);
      waiting.clear();
      const auto most =
          std::max_element(logits.begin(), logits.end(), [](auto a, auto b) { return float(a) < float(b); });
      double sum = 0;
      for (const auto x : logits) sum += std::exp(double{float(x)} - double{float(*most)});
      reading.chosen.push_back(static_cast<std::int32_t>(most - logits.begin()));
      reading.nll += std::log(sum) + double{float(*most)} - double{float(logits[static_cast<std::size_t>(id(i + 1))])};
    }
  }
  return reading;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Compares the int8 copy of the head with the head, on the bundled base and its SQL expert");
  bench::RunOptions o;
  std::string adapter_directory, data;
  std::int64_t rows = 200;
  app.add_option("--adapter", adapter_directory, "directory that training wrote")->required();
  app.add_option("--data", data, "rows in the trainer's format")->required();
  app.add_option("--rows", rows, "the first of them")->check(CLI::Range(1, 1'000'000))->capture_default_str();
  bench::add_run_options(app, o);
  CLI11_PARSE(app, argc, argv);
  try {
    if (o.model.empty() || o.random) throw CLI::ValidationError("--model is the base that the adapter was trained on");
    CpuDevice device(o.threads, o.isa.empty() ? best_isa() : require_supported(isa_from_name(o.isa)));
    const std::vector<float> adapter = load_adapter<TinySqlExpert>(adapter_directory);
    const Tokenizer tokenizer = Tokenizer::load(o.model + "/tokenizer.json");
    FileSource source(data);
    JsonlReader reader(source, data);
    const Dataset dataset = read_dataset<TinySqlExpert::chat_template>(reader, tokenizer, std::nullopt);
    const std::int64_t count = std::min(rows, dataset.documents.size());
    const Reading exact = read<TinySqlExpert>(device, o.model, adapter, dataset.documents, count),
                  int8 = read<With<TinySqlExpert, HeadInt8>>(device, o.model, adapter, dataset.documents, count);
    const auto tokens = static_cast<double>(exact.chosen.size());
    std::int64_t same = 0;
    for (std::size_t i = 0; i < exact.chosen.size(); ++i) same += exact.chosen[i] == int8.chosen[i];
    bench::print_result(o, Json::object()
                               .set("rows", count)
                               .set("answer_tokens", std::ssize(exact.chosen))
                               .set("same_choice", static_cast<double>(same) / tokens)
                               .set("perplexity", std::exp(exact.nll / tokens))
                               .set("perplexity_int8", std::exp(int8.nll / tokens)));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
