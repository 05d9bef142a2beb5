// Writes a Qwen3 model with random weights as a Hugging Face directory: any sizes, seed, dtype, one file or shards.
#include <CLI/CLI.hpp>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "random_model.hpp"

using namespace random_model;

int main(int argc, char** argv) {
  CLI::App app("Writes a Qwen3 model with random weights as a Hugging Face directory");
  std::string out, preset, dtype_name, tokenizer;
  std::uint64_t seed = 1;
  double range = 0.02;
  std::int64_t shard_bytes = 0, bos = 0, pad = 0;
  std::vector<std::int64_t> eos;
  Sizes sizes = tiny;
  app.add_option("--out", out, "directory to write")->required();
  app.add_option("--preset", preset, "sizes to begin with; the options below change them")
      ->check(CLI::IsMember({"tiny", "qwen3-0.6b"}))
      ->default_val("tiny");
  struct {
    const char* name;
    std::int64_t Sizes::* member;
    std::int64_t value;
  } options[] = {{"--hidden-size", &Sizes::hidden_size, 0},
                 {"--num-hidden-layers", &Sizes::num_hidden_layers, 0},
                 {"--num-attention-heads", &Sizes::num_attention_heads, 0},
                 {"--num-key-value-heads", &Sizes::num_key_value_heads, 0},
                 {"--head-dim", &Sizes::head_dim, 0},
                 {"--intermediate-size", &Sizes::intermediate_size, 0},
                 {"--vocab-size", &Sizes::vocab_size, 0},
                 {"--max-position-embeddings", &Sizes::max_position_embeddings, 0}};
  for (auto& option : options) app.add_option(option.name, option.value)->check(CLI::Range(1, 1 << 24));
  bool untied = false;
  app.add_flag("--untied", untied, "a head of its own");
  app.add_option("--dtype", dtype_name, "of the file")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->default_val("bfloat16");
  app.add_option("--seed", seed)->default_val(seed);
  app.add_option("--initializer-range", range)->default_val(range);
  app.add_option("--shard-bytes", shard_bytes, "split the weights into files of about this size")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--tokenizer", tokenizer, "tokenizer.json to copy into the directory")->check(CLI::ExistingFile);
  app.add_option("--bos-token-id", bos);
  app.add_option("--eos-token-id", eos, "any of them ends an answer; the first goes into config.json");
  app.add_option("--pad-token-id", pad);
  CLI11_PARSE(app, argc, argv);

  try {
    if (preset == "qwen3-0.6b") {
      sizes = qwen3_0_6b;
      if (eos.empty()) bos = pad = 151643, eos = {151645, 151643};
    }
    for (const auto& option : options)
      if (option.value > 0) sizes.*option.member = option.value;
    if (untied) sizes.tie_word_embeddings = false;
    if (eos.empty()) eos = {0};
    if (sizes.head_dim % 2 != 0 || sizes.num_attention_heads % sizes.num_key_value_heads != 0)
      throw CLI::ValidationError("head_dim must be even, and num_attention_heads a multiple of num_key_value_heads");
    std::filesystem::create_directories(out);
    const DType dtype = dtype_name == "float32" ? DType::F32 : DType::BF16;
    const auto tensors = tensors_of(sizes);
    write_weights(out, tensors, dtype, seed, range, shard_bytes);
    write_configs(out, sizes, dtype, range, bos, eos, pad);
    if (!tokenizer.empty())
      std::filesystem::copy_file(tokenizer, std::filesystem::path(out) / "tokenizer.json",
                                 std::filesystem::copy_options::overwrite_existing);
    std::int64_t parameters = 0;
    for (const Tensor& tensor : tensors) parameters += tensor.elements();
    std::printf("%s: %" PRId64 " parameters, %s\n", out.c_str(), parameters, dtype_name.c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
