// The adapter that PEFT loaded (record.json) is the one that the library makes today.
#include "adapter.hpp"
#include "catch.hpp"
#include "differences.hpp"
#include "expert/io/sha256.hpp"

#include <filesystem>

using namespace round_trip;

namespace {
const std::filesystem::path folder = std::filesystem::path(EXPERT_SOURCE_DIR) / "tests/peft";
}

TEST_CASE("training from the recorded seed gives the adapter that PEFT loaded", "[peft]") {
  const Json record = read_json(folder / "record.json", 1 << 20);
  const std::string& recorded = record.at_pointer("/adapter/sha256")->as_string();
  CHECK(record.at_pointer("/adapter/seed")->as_int() == static_cast<std::int64_t>(seed));
  CHECK(record.at_pointer("/adapter/steps")->as_int() == steps);
  CHECK(sha256_file(folder / "adapter/adapter_model.safetensors") == recorded);

  using E = WithAdapter<DoRA<12>>;
  CpuDevice device = portable_device();
  const auto weights = load_weights<E>(data() / "model", device);
  const std::vector<float> made = train<E>(device, weights);
  const std::filesystem::path out =
      std::filesystem::temp_directory_path() / ("expert_record_test." + std::to_string(::getpid()));
  save_adapter<E>(made.data(), out, "model");
  const std::string hash = sha256_file(out / "adapter_model.safetensors");
  std::filesystem::remove_all(out);
  if (hash == recorded) return;
  // Only cos, sin and pow of another C library, or fused products on another architecture, may move the last bits.
  WARN("the adapter has other bits than the recorded one: compared within 1e-6");
  CHECK(max_abs_difference(made, load_adapter<E>(folder / "adapter")) <= 1e-6);
}

TEST_CASE("the recorded logits of PEFT and of this library agree", "[peft]") {
  const Json record = read_json(folder / "record.json", 1 << 20);
  const double tolerance = record.find("tolerance")->as_double();
  CHECK(tolerance == 5e-5);
  const auto& comparisons = record.find("max_abs_logit_difference")->members();
  CHECK(comparisons.size() == 6);
  for (const auto& [name, difference] : comparisons) {
    INFO(name);
    CHECK(difference.as_double() <= tolerance);
  }
}
