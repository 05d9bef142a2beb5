// Why: an adapter of your own trains like ours. vera.hpp says which numbers learn and how A and B follow from them;
// type, memory plan, optimizer, checkpoints, the manifest's check and PEFT files come from the library.
#include <cstdio>
#include <expert/expert.hpp>

#include "../experts/expert-sql/expert.hpp"
#include "vera.hpp"

using namespace expert;

int main() {
  using Sql = SqlExpert<ExpertTiny, Bf16Weights, Packing<512>, Batch<2>, lab::VeRA<32>>;
  std::printf("%s\n%lld trainable parameters; LoRA of this rank has %lld\n", type_name<Sql>().c_str(),
              static_cast<long long>(trainable_parameters<Sql>), static_cast<long long>(AdapterLayout<Sql>::size));
  const std::string model = "experts/tiny-base", rows = "examples/04_first_expert.jsonl";
  CpuDevice device(2);
  const Weights<Sql> base = load_weights<Sql>(model, device);
  const Tokenizer tokenizer = Tokenizer::load(model + "/tokenizer.json");
  const auto end = static_cast<std::int32_t>(base.config().eos_token_id.front());
  FileSource file(rows);
  JsonlReader reader(file, rows);
  TrainingData data(read_dataset<Sql::chat_template>(reader, tokenizer, end), {.max_seq_length = 512}, 8, 1, rows);

  Trainer<Sql> trainer(device, base, {});
  const TokenBatch batch = data.step(0).front();
  const double before = trainer.evaluate(batch);
  for (int step = 0; step < 10; ++step) trainer.step({&batch, 1}, 1e-1);
  const double after = trainer.evaluate(batch);
  std::printf("loss %.3f -> %.3f\n", before, after);
  save_adapter<Sql>(trainer.adapter(), "runs/your_own_adapter", model);  // the LoRA that it equals, for everybody else
  return after < 0.9 * before ? 0 : 1;
}
