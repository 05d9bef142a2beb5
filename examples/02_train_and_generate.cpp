// Why: the whole loop in one page. A DoRA adapter learns one sentence by heart, is saved as PEFT saves it, loaded
// again, and recites it. The base is the two-layer random model of the parity tests, so this needs no download.
#include <cstdio>
#include <expert/adapter_file.hpp>
#include <expert/data/packing.hpp>
#include <expert/generate.hpp>
#include <expert/policy/assemble.hpp>
#include <expert/trainer.hpp>
#include <filesystem>

using namespace expert;

using Base = HfDecoder<64, 2, 4, 2, 32, 128, 512, true, 128>;
using Small = Expert<Base, DoRA<12>, Compute<float>, Packing<32>, Batch<1>>;

int main() {
  const std::filesystem::path directory = "tests/parity/data/model";
  CpuDevice device(2);
  const Weights<Small> weights = load_weights<Small>(directory, device);

  Documents documents;
  const std::vector<std::int32_t> sentence{7, 30, 101, 5, 250, 12, 77, 300, 9, 2};
  documents.add(sentence, std::vector<std::uint8_t>(sentence.size(), 1));
  const TokenBatch batch = make_batch(documents, pack(documents, {.max_seq_length = 32}, 0), 0, 1);

  Trainer<Small> trainer(device, weights, {});
  double loss = 0;
  for (int step = 0; step < 60; ++step) loss = trainer.step({&batch, 1}, 2e-2).loss;
  std::printf("loss after 60 steps: %.4f\n", loss);

  const auto out = std::filesystem::temp_directory_path() / "expert_example_02";
  save_adapter<Small>(trainer.adapter(), out, directory.string());
  const std::vector<float> adapter = load_adapter<Small>(out);
  std::filesystem::remove_all(out);

  Generator<Small> generator(device, weights, adapter.data(), {.context_length = 32});
  const std::vector<std::int32_t> prompt{sentence.front()};
  GenerateOptions options;
  options.eos_token_id = {sentence.back()};
  const std::vector<Generated> answers = generator.generate({&prompt, 1}, options);
  for (const std::int32_t id : answers[0].ids) std::printf("%d ", id);
  std::printf("(%s)\n", name_of(answers[0].stop_reason).data());
  return std::ranges::equal(answers[0].ids, std::span(sentence).subspan(1, sentence.size() - 2)) ? 0 : 1;
}
