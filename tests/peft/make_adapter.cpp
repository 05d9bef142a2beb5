// Our half of tests/peft/round_trip.py.
//   make_adapter train dora|lora OUT     OUT/adapter (PEFT), OUT/merged (Hugging Face), OUT/logits.safetensors
//   make_adapter run dora|lora DIR OUT   OUT: the logits with the adapter that PEFT saved in DIR
#include <filesystem>
#include <iostream>

#include "adapter.hpp"

namespace {

using namespace round_trip;

template <class Adapter>
int run(const std::vector<std::string>& arguments) {
  using E = WithAdapter<Adapter>;
  CpuDevice device = portable_device();
  const auto weights = load_weights<E>(data() / "model", device);
  if (arguments[0] == "run" && arguments.size() == 4) {
    write_logits<E>(device, weights, load_adapter<E>(arguments[2]).data(), arguments[3]);
    return 0;
  }
  if (arguments[0] != "train" || arguments.size() != 3) return 2;
  const std::filesystem::path out = arguments[2];
  const std::vector<float> adapter = train<E>(device, weights);
  save_adapter<E>(adapter.data(), out / "adapter", "model");
  save_model<E>(merge_adapter<E>(device, weights, adapter).data(), out / "merged", data() / "model");
  write_logits<E>(device, weights, adapter.data(), out / "logits.safetensors");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  int result = 2;
  try {
    if (arguments.size() > 1 && arguments[1] == "dora") result = run<DoRA<12>>(arguments);
    if (arguments.size() > 1 && arguments[1] == "lora") result = run<LoRA<12>>(arguments);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  if (result == 2) std::cerr << "usage: make_adapter train dora|lora OUT, or make_adapter run dora|lora DIR OUT\n";
  return result;
}
