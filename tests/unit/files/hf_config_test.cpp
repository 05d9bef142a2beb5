// io/hf_config.hpp: both generations of config.json, their defaults and their agreement. Refusals: malformed_test.cpp.
#include "expert/io/hf_config.hpp"

#include <filesystem>
#include <utility>

#include "catch.hpp"
#include "error_of.hpp"
#include "temp_dir.hpp"

namespace hf_config_test {
using namespace expert;

namespace {

// Qwen3-0.6B as its authors published it (transformers 4.51).
const std::string published = R"({
  "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 151643,
  "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02,
  "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
  "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
  "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true,
  "torch_dtype": "bfloat16", "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false,
  "vocab_size": 151936})";

HfConfig parse(const std::string& text) {
  return parse_hf_config(parse_json(text, "config.json", 1 << 20), "config.json");
}
std::string with(const std::string& from, const std::string& to) {
  std::string text = published;
  const std::size_t at = text.find(from);
  REQUIRE(at != text.npos);
  return text.replace(at, from.size(), to);
}
HfConfig with_rope(const std::string& rope) { return parse(with("\"rope_scaling\": null", rope)); }

}  // namespace

TEST_CASE("the published configuration of Qwen3-0.6B reads", "[hf_config]") {
  const HfConfig config = parse(published);
  CHECK(config.vocab_size == 151936);
  CHECK(config.hidden_size == 1024);
  CHECK(config.intermediate_size == 3072);
  CHECK(config.num_hidden_layers == 28);
  CHECK(config.num_attention_heads == 16);
  CHECK(config.num_key_value_heads == 8);
  CHECK(config.head_dim == 128);
  CHECK(config.max_position_embeddings == 40960);
  CHECK(config.rms_norm_eps == 1e-6);
  CHECK(config.tie_word_embeddings);
  CHECK(config.initializer_range == 0.02);
  CHECK(config.rope == RopeConfig{.rope_type = "default", .rope_theta = 1e6});
  CHECK(config.dtype == DType::BF16);
  CHECK(config.eos_token_id == std::vector<std::int64_t>{151645});
  CHECK(config.bos_token_id == 151643);
  CHECK_FALSE(config.pad_token_id.has_value());
}

TEST_CASE("the files that transformers 5 wrote for the fixtures read", "[hf_config]") {
  const std::filesystem::path data = std::filesystem::path(EXPERT_SOURCE_DIR) / "tests/parity/data";
  const HfConfig config = read_hf_config(data / "model/config.json");
  CHECK(config.hidden_size == 64);
  CHECK(config.head_dim == 32);
  CHECK(config.rope == RopeConfig{.rope_type = "default", .rope_theta = 1e6});
  CHECK(config.dtype == DType::F32);
  CHECK(read_hf_config(data / "model_bf16/config.json").dtype == DType::BF16);
  const GenerationConfig generation = read_generation_config(data / "model/generation_config.json");
  CHECK(generation.temperature == 0.1);
  CHECK(generation.top_p == 0.9);
  CHECK(generation.top_k == 50);
  CHECK(generation.do_sample == true);
  CHECK(generation.eos_token_id == std::vector<std::int64_t>{2});
  CHECK_FALSE(generation.min_p.has_value());
  CHECK_FALSE(generation.repetition_penalty.has_value());
}

TEST_CASE("an absent head_dim is Qwen3Config's 128, not hidden_size / heads", "[hf_config]") {
  CHECK(parse(with("\"head_dim\": 128, ", "")).head_dim == 128);  // 1024 / 16 would be 64
}

TEST_CASE("absent tie_word_embeddings is false, null key-value heads are as many as heads, as in Qwen3Config",
          "[hf_config]") {
  CHECK_FALSE(parse(with("\"tie_word_embeddings\": true,", "")).tie_word_embeddings);
  CHECK(parse(with("\"num_key_value_heads\": 8", "\"num_key_value_heads\": null")).num_key_value_heads == 16);
}

TEST_CASE("the spellings of 4.x and 5.x give the same RoPE, also beside each other", "[hf_config]") {
  const std::string yarn = R"("factor": 4.0, "original_max_position_embeddings": 32768})";
  const RopeConfig expected{
      .rope_type = "yarn", .rope_theta = 1e6, .factor = 4, .original_max_position_embeddings = 32768};
  CHECK(with_rope("\"rope_scaling\": {\"type\": \"yarn\", " + yarn).rope == expected);
  CHECK(with_rope("\"rope_scaling\": {\"rope_type\": \"yarn\", \"type\": \"yarn\", " + yarn).rope == expected);
  CHECK(with_rope("\"rope_parameters\": {\"rope_type\": \"yarn\", \"rope_theta\": 1000000.0, " + yarn).rope ==
        expected);
  CHECK(with_rope("\"rope_parameters\": {\"rope_type\": \"yarn\", " + yarn +
                  ", \"rope_scaling\": {\"type\": \"yarn\", " + yarn)
            .rope == expected);
  CHECK(with_rope("\"rope_parameters\": {}").rope.rope_type == "default");
}

TEST_CASE("every type of RoPE reads with transformers' defaults", "[hf_config]") {
  const auto rope = [](const std::string& dict) { return with_rope("\"rope_parameters\": " + dict).rope; };
  CHECK(rope(R"({"rope_type": "default"})") == RopeConfig{.rope_theta = 1e6});
  CHECK(rope(R"({"rope_type": "linear", "factor": 2})") ==
        RopeConfig{.rope_type = "linear", .rope_theta = 1e6, .factor = 2});
  CHECK(rope(R"({"rope_type": "dynamic", "factor": 2.5})") ==
        RopeConfig{.rope_type = "dynamic", .rope_theta = 1e6, .factor = 2.5});
  // standardize_rope_params: the trained length is max_position_embeddings where none is stated
  CHECK(rope(R"({"rope_type": "yarn", "factor": 8, "truncate": true})") ==
        RopeConfig{.rope_type = "yarn", .rope_theta = 1e6, .factor = 8, .original_max_position_embeddings = 40960});
  CHECK(rope(R"({"rope_type": "yarn", "factor": 8, "attention_factor": 1.0, "beta_fast": 16, "beta_slow": 2})") ==
        RopeConfig{.rope_type = "yarn",
                   .rope_theta = 1e6,
                   .factor = 8,
                   .original_max_position_embeddings = 40960,
                   .attention_factor = 1.0,
                   .beta_fast = 16,
                   .beta_slow = 2});
  CHECK(rope(R"({"rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 8192, "low_freq_factor": 1,
                 "high_freq_factor": 4})") == RopeConfig{.rope_type = "llama3",
                                                         .rope_theta = 1e6,
                                                         .factor = 8,
                                                         .original_max_position_embeddings = 8192,
                                                         .low_freq_factor = 1,
                                                         .high_freq_factor = 4});
}

TEST_CASE("a contradiction between the generations names both places", "[hf_config]") {
  const Error theta = error_of([] { with_rope(R"("rope_parameters": {"rope_theta": 10000.0})"); });
  CHECK(theta.error_code() == config_contradiction);
  CHECK(contains(theta.what(), "/rope_parameters/rope_theta"));
  CHECK(contains(theta.what(), "as at /rope_theta"));
  const Error rope = error_of([] {
    with_rope(
        R"("rope_parameters": {"rope_type": "linear", "factor": 2}, "rope_scaling": {"type": "linear", "factor": 4})");
  });
  CHECK(rope.error_code() == config_contradiction);
  CHECK(contains(rope.what(), "/rope_scaling"));
  CHECK(contains(rope.what(), "/rope_parameters"));
}

TEST_CASE("unknown keys are ignored unless they are a letter or two from one that matters", "[hf_config]") {
  CHECK(parse(with("\"use_cache\": true", "\"some_tool\": {\"note\": [1]}, \"_comment\": \"x\"")).hidden_size == 1024);
  for (const char* key : {"rope_scalling", "rope_parameter", "rope_thetas", "head_dm", "layer_type", "attention_bia"}) {
    const Error error =
        error_of([&] { parse(with("\"use_cache\": true", std::string("\"").append(key).append("\": 1"))); });
    CHECK(error.error_code() == config_unsupported);
    CHECK(contains(error.what(), key));
  }
}

TEST_CASE("whole numbers may be written as 28.0", "[hf_config]") {
  CHECK(parse(with("\"num_hidden_layers\": 28", "\"num_hidden_layers\": 28.0")).num_hidden_layers == 28);
}

TEST_CASE("a generation configuration keeps what is absent or null apart from what is stated", "[hf_config]") {
  const auto generation = [](const std::string& text) {
    return parse_generation_config(parse_json(text, "g", 1 << 20), "g");
  };
  const GenerationConfig empty = generation("{}");
  CHECK(empty.eos_token_id.empty());
  CHECK_FALSE(empty.temperature.has_value());
  const GenerationConfig stated = generation(
      R"({"eos_token_id": [151645, 151643], "temperature": 0.6, "top_k": 20, "top_p": null, "num_beams": 1, "min_p": 0,
          "repetition_penalty": 1.05, "typical_p": 1.0, "max_new_tokens": 64, "do_sample": false, "unknown": 1})");
  CHECK(stated.eos_token_id == std::vector<std::int64_t>{151645, 151643});
  CHECK(stated.temperature == 0.6);
  CHECK(stated.top_k == 20);
  CHECK_FALSE(stated.top_p.has_value());
  CHECK(stated.min_p == 0.0);
  CHECK(stated.repetition_penalty == 1.05);
  CHECK(stated.max_new_tokens == 64);
  CHECK(stated.do_sample == false);
}

TEST_CASE("a configuration over its size limit is refused before it is read", "[hf_config]") {
  const TempDir dir;
  Limits limits;
  limits.config_bytes = 10;
  const auto path = dir.write("config.json", published);
  CHECK(error_of([&] { read_hf_config(path, limits); }).error_code() == file_too_large);
  CHECK(error_of([&] { read_hf_config(dir / "missing.json"); }).error_code() == file_unreadable);
  CHECK(read_hf_config(path).hidden_size == 1024);
}

TEST_CASE("the distance between words counts letters put in, taken out and replaced", "[hf_config]") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("rope_tetha", "rope_theta") == 2);
  CHECK(edit_distance("k_prj", "k_proj") == 1);
}

}  // namespace hf_config_test
