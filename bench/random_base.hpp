// A random base of the shape of Qwen3-0.6B in the temporary directory, written once, for what is measured without a
// download.
#pragma once
#include <cstdio>
#include <filesystem>
#include <string>

#include "random_model.hpp"

namespace expert::bench {

inline std::string random_base() {
  const std::filesystem::path directory = std::filesystem::temp_directory_path() / "expert-random-qwen3-0.6b-1";
  if (!std::filesystem::exists(directory / "config.json")) {
    std::fprintf(stderr, "writing a random base to %s\n", directory.c_str());
    std::filesystem::create_directories(directory);
    random_model::write_weights(directory, random_model::tensors_of(random_model::qwen3_0_6b), DType::BF16, 1, 0.02, 0);
    random_model::write_configs(directory, random_model::qwen3_0_6b, DType::BF16, 0.02, 151643, {151645, 151643},
                                151643);
  }
  return directory.string();
}

}  // namespace expert::bench
