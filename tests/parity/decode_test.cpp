// Greedy decoding with the key-value cache, and the logits of every step, against transformers' generate.
#include "expert/generate.hpp"
#include "support.hpp"

namespace decode_test {
using namespace parity;

TEMPLATE_LIST_TEST_CASE("greedy tokens and the logits of every step equal transformers", "[parity]",
                        parity_sets::ParitySets) {
  using Set = TestType;
  using E = On<Set, DoRA<1>>;
  const auto opened = fixture<Set>("ref_decode");
  if (!opened) return;
  const SafetensorsFile& file = *opened;
  CpuDevice device(2);
  const auto weights = load_weights<E>(path_of(Set::directory, "model"), device);
  const auto prompt_ids = tensor(file, "prompt").as<std::int64_t>(),
             all = tensor(file, "greedy_tokens").as<std::int64_t>();
  const std::vector<std::vector<std::int32_t>> prompts(3, {prompt_ids.begin(), prompt_ids.end()});
  std::vector<std::int32_t> expected(all.begin() + static_cast<std::ptrdiff_t>(prompt_ids.size()), all.end());
  GenerateOptions options;
  options.max_new_tokens = static_cast<std::int64_t>(expected.size());

  // Prefill at once and in pieces, alone and in a batch: the same tokens.
  for (const std::int64_t prefill : {64, 3, 1}) {
    Generator<E> generator(device, weights, nullptr, {.context_length = 64, .rows = 2, .prefill_tokens = prefill});
    for (const Generated& g : generator.generate(prompts, options)) CHECK(g.ids == expected);
  }

  Generator<E> generator(device, weights, nullptr, {.context_length = 64});
  const std::vector<float> logits = floats(file, "step_logits");
  std::vector<std::int32_t> next = prompts[0];
  const auto V = static_cast<std::size_t>(E::model::vocab_size);
  for (std::size_t step = 0; step < expected.size(); ++step) {
    const auto got = generator.append(0, next);
    check_close("logits of step " + std::to_string(step), got.data(), row_of(logits, step, V), f32_logits);
    next = {expected[step]};
  }
}

}  // namespace decode_test
