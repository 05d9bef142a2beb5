// Why: the first expert in twenty lines. The SQL expert's type on the bundled base, some rows of {question, context,
// answer}, a training run, the adapter as PEFT files, and an answer. The rows are so few that the test takes seconds;
// quickstart.sh trains on 12,000.
#include <cstdio>
#include <expert/expert.hpp>

#include "../experts/expert-sql/expert.hpp"

using namespace expert;

int main() {
  using Sql = SqlExpert<ExpertTiny, Bf16Weights, Packing<512>, Batch<8>>;
  const std::string model = "experts/tiny-base", rows = "examples/04_first_expert.jsonl";
  CpuDevice device(2);
  const Weights<Sql> base = load_weights<Sql>(model, device);
  const Tokenizer tokenizer = Tokenizer::load(model + "/tokenizer.json");
  const auto end = static_cast<std::int32_t>(base.config().eos_token_id.front());

  FileSource file(rows);
  JsonlReader reader(file, rows);
  TrainingData data(read_dataset<Sql::chat_template>(reader, tokenizer, end), {.max_seq_length = 512}, 8, 1, rows);
  Trainer<Sql> trainer(device, base, {.optimizer = {.learning_rate = 4e-3}});
  TrainingRun<Sql> run(trainer, data, {.max_steps = 24});
  std::printf("loss after %lld steps: %.3f\n", 24LL, run.train().log_history.items().back().find("loss")->as_double());
  save_adapter<Sql>(trainer.adapter(), "runs/first_expert", model);

  Example question{
      RowShape::question_answer,
      {{"system", "Dialect: postgres\nSchema:\nCREATE TABLE pilot (id INT PRIMARY KEY, name TEXT, age INT)"},
       {"user", "How many pilots are there?"}}};
  const std::vector<std::int32_t> prompt = encode_example<Sql::chat_template>(tokenizer, question, end, true).ids;
  Generator<Sql> generator(device, base, trainer.adapter(), {.context_length = 512});
  const std::vector<Generated> answers =
      generator.generate({&prompt, 1}, {.max_new_tokens = 40, .eos_token_id = {end}});
  std::printf("%s\n", tokenizer.decode(answers[0].ids, true).c_str());
}
