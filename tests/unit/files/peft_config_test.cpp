// io/peft_config.hpp against the files that PEFT wrote. Refusals: malformed_test.cpp.
#include "expert/io/peft_config.hpp"

#include "catch.hpp"
#include "error_of.hpp"
#include "temp_dir.hpp"

#include <filesystem>

namespace peft_config_test {
using namespace expert;

namespace {

const std::filesystem::path fixtures = std::filesystem::path(EXPERT_SOURCE_DIR) / "tests/parity/data";
PeftConfig parse(const std::string& text) { return parse_peft_config(parse_json(text, "a.json", 1 << 20), "a.json"); }

}  // namespace

TEST_CASE("what PEFT saved is read, and written back as the same bytes", "[peft_config]") {
  const TempDir dir;
  for (const char* name : {"lora_r4", "lora_r12", "dora_r4", "dora_r12", "lora_r4_rslora_all7", "nf4dq_dora_r12"}) {
    INFO(name);
    const std::filesystem::path golden = fixtures / name / "adapter_config.json";
    const PeftConfig config = read_peft_config(golden);
    write_peft_config(dir / "adapter_config.json", config);
    CHECK(read_file(dir / "adapter_config.json", 1 << 20) == read_file(golden, 1 << 20));
    CHECK(read_peft_config(dir / "adapter_config.json") == config);
  }
  const PeftConfig dora = read_peft_config(fixtures / "dora_r12/adapter_config.json");
  CHECK(dora.r == 12);
  CHECK(dora.lora_alpha == 24);
  CHECK(dora.use_dora);
  CHECK_FALSE(dora.use_rslora);
  CHECK(dora.target_modules ==
        std::vector<std::string>{"down_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"});
  CHECK(dora.base_model_name_or_path == "model");
  CHECK(read_peft_config(fixtures / "lora_r4_rslora_all7/adapter_config.json").target_modules.size() == 7);
}

TEST_CASE("the scale is alpha / r, and alpha / sqrt(r) with rsLoRA", "[peft_config]") {
  CHECK(read_peft_config(fixtures / "dora_r12/adapter_config.json").scaling() == 2.0);
  CHECK(read_peft_config(fixtures / "lora_r4_rslora_all7/adapter_config.json").scaling() == 4.0);
}

TEST_CASE("a minimal file reads with PEFT's defaults, target names in any order", "[peft_config]") {
  const PeftConfig config =
      parse(R"({"peft_type": "LORA", "r": 8, "lora_alpha": 16.5, "target_modules": ["v_proj", "gate_proj"]})");
  CHECK(config.lora_alpha == 16.5);
  CHECK(config.lora_dropout == 0);
  CHECK_FALSE(config.use_dora);
  CHECK_FALSE(config.base_model_name_or_path.has_value());
  CHECK(config.target_modules == std::vector<std::string>{"gate_proj", "v_proj"});
  CHECK(parse(peft_config_text(config)) == config);
}

TEST_CASE("every field survives writing and reading", "[peft_config]") {
  PeftConfig config;
  config.r = 3;
  config.lora_alpha = 0.5;
  config.lora_dropout = 0.05;
  config.target_modules = {"k_proj"};
  config.use_dora = config.use_rslora = true;
  config.inference_mode = false;
  config.base_model_name_or_path = "caf\xc3\xa9 \"quoted\"";
  config.revision = "main";
  CHECK(parse(peft_config_text(config)) == config);
}

TEST_CASE("unknown keys that say nothing are accepted: null, false, empty", "[peft_config]") {
  const std::string valid = R"("peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["v_proj"])";
  for (const char* value : {"null", "false", "[]", "{}"})
    CHECK(parse("{\"from_a_later_version\": " + std::string(value) + ", " + valid + "}").r == 8);
  for (const char* value : {"true", "0", "1", "\"\"", "[0]", "{\"a\": 1}"})
    CHECK(error_of([&] {
            parse("{\"from_a_later_version\": " + std::string(value) + ", " + valid + "}");
          }).error_code() == adapter_unsupported);
  for (const char* init : {"true", "false", "\"gaussian\""})
    CHECK(parse("{\"init_lora_weights\": " + std::string(init) + ", " + valid + "}").r == 8);
}

TEST_CASE("a configuration that cannot be written leaves no file", "[peft_config]") {
  const TempDir dir;
  PeftConfig config;
  config.r = 1;
  config.lora_alpha = 1;
  config.target_modules = {"q_proj"};
  config.base_model_name_or_path = "\xff";
  CHECK(error_of([&] { write_peft_config(dir / "a.json", config); }).error_code() == json_not_writable);
  CHECK(std::filesystem::is_empty(dir.path()));
}

}  // namespace peft_config_test
