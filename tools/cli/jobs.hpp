// What `train` and `generate` do with one compiled expert: declared here, instantiated once per expert in
// tools/experts.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/common.hpp"
#include "expert/data/filter.hpp"
#include "expert/data/shapes.hpp"
#include "expert/generate.hpp"
#include "expert/optimizer.hpp"

namespace cli {

// All that a run depends on, resolved: manifest, flags, defaults.
struct TrainJob {
  std::string model, data, out;
  int threads = 1;
  OptimizerOptions optimizer;
  double epochs = 1;
  std::int64_t max_steps = 0;  // 0: epochs decides
  std::int64_t gradient_accumulation_steps = 1, logging_steps = 10;
  double dropout = 0;
  std::uint64_t seed = 42;
  RowOptions rows;
  RowFilterOptions filter;
};

struct GenerateJob {
  std::string model, adapter, input, output;  // adapter empty: the base alone
  int threads = 1;
  std::int64_t batch_size = 8;
  std::int64_t context_length = 0;  // 0: longest prompt + max_new_tokens
  GenerateOptions options;
  std::vector<std::string> stop_sequences;
  RowOptions rows;
};

template <class E>
ExitCode train_expert(const TrainJob& job, Report& report);
template <class E>
ExitCode generate_expert(const GenerateJob& job, Report& report);

}  // namespace cli
