// The measurement of `bench` for the expert E. Included by tools/experts/*.cpp only.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/jobs.hpp"
#include "cli/measured.hpp"
#include "expert/adapter_file.hpp"
#include "expert/core/random.hpp"
#include "expert/generate.hpp"
#include "median.hpp"
#include "process_memory.hpp"
#include "untrained_adapter.hpp"

namespace cli {

// Two generators of one sequence decode the same tokens in turns.
template <class E>
ExitCode bench_expert(const BenchJob& job, Report& report) {
  if constexpr (E::tuning::trains_base) {
    throw Error(bad_command_line, {.where = "bench",
                                   .expected = "an expert with an adapter",
                                   .got = type_name<E>(),
                                   .fix = "Name the manifest of an expert with an adapter"});
  } else {
    CpuDevice device(job.threads);
    const Weights<E> weights = load_base<E>(job, device, report);
    const std::vector<float> adapter = job.adapter.empty() ? untrained_adapter<E>() : load_adapter<E>(job.adapter);
    const GeneratorOptions options{.context_length = job.prompt_tokens + job.new_tokens};
    const RandomStream random(2, Purpose::sample);
    const auto token = [&](std::int64_t i) {
      return static_cast<std::int32_t>(
          random.below(static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(E::model::vocab_size)));
    };
    std::vector<std::int32_t> prompt(static_cast<std::size_t>(job.prompt_tokens));
    for (std::size_t i = 0; i < prompt.size(); ++i) prompt[i] = token(static_cast<std::int64_t>(i));
    Generator<E>(device, weights, adapter.data(), options).append(0, prompt);  // what a process gets once
    const std::int64_t before = status_bytes("RssAnon");
    Generator<E> base(device, weights, nullptr, options);
    base.append(0, prompt);
    const std::int64_t with_base = status_bytes("RssAnon");
    Generator<E> expert(device, weights, adapter.data(), options);
    expert.append(0, prompt);
    const std::int64_t with_both = status_bytes("RssAnon");
    std::vector<double> base_ms, expert_ms, difference;
    const auto timed = [](Generator<E>& generator, std::int32_t id) {
      const auto begin = std::chrono::steady_clock::now();
      generator.append(0, {&id, 1});
      return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    };
    for (std::int64_t i = 0; i < job.new_tokens; ++i) {
      const std::int32_t id = token(job.prompt_tokens + i);
      base_ms.push_back(timed(base, id));
      expert_ms.push_back(timed(expert, id));
      difference.push_back(expert_ms.back() - base_ms.back());
    }
    const Measured measured{.device = device_name(device.cpu().isa, job.threads),
                            .expert = type_name<E>(),
                            .date = utc_now(),
                            .git = build_info().git,
                            .prompt_tokens = job.prompt_tokens,
                            .new_tokens = job.new_tokens,
                            .base_ms = median(std::move(base_ms)),
                            .expert_ms = median(std::move(expert_ms)),
                            .latency_ms_overhead = median(std::move(difference)),
                            .adapter_bytes = (with_both - with_base) - (with_base - before)};
    char line[256];
    std::snprintf(line, sizeof line,
                  "%.2f ms per token without the adapter, %.2f with it: %.2f ms added (medians of %lld); %.2f MB added",
                  measured.base_ms, measured.expert_ms, measured.latency_ms_overhead,
                  static_cast<long long>(job.new_tokens), static_cast<double>(measured.adapter_bytes) / 1e6);
    report.say(measured.device);
    report.say(line);
    report.result().set("measured", to_json(measured));
    if (!job.record.empty()) {
      write_measured(job.record, measured);
      report.say("kept in " + job.record);
    }
    return ok;
  }
}

}  // namespace cli
