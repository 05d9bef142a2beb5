// The files of an output directory (run.json, metrics.jsonl, samples.json) and evaluations -> its report.html.
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cli/common.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/io/gzip.hpp"
#include "expert/io/report_html.hpp"

namespace cli {

inline constexpr std::int64_t run_file_bytes = std::int64_t{64} << 20;  // run.json, samples.json, an evaluation

// What a caller adds to a directory's own files; samples that are null are those of the directory.
struct ReportExtras {
  std::vector<std::pair<std::string, Json>> evals;
  Json samples;
};

// Throws E200 and E21x where run.json or a file that is there cannot be read, E203.
inline void write_report(const std::string& directory, ReportExtras extras = {}) {
  namespace fs = std::filesystem;
  ReportInput input;
  input.run = read_json(directory + "/run.json", run_file_bytes);
  if (const std::string log = directory + "/metrics.jsonl"; fs::exists(log)) {
    const auto source = open_plain_or_gzip(log);
    JsonlReader reader(*source, log);
    for (JsonRow row; reader.next(row);) input.log.push_back(std::move(row.value));
  }
  const std::string samples = directory + "/samples.json";
  input.samples = std::move(extras.samples);
  if (input.samples.is_null() && fs::exists(samples)) input.samples = read_json(samples, run_file_bytes);
  input.evals = std::move(extras.evals);
  write_file(directory + "/report.html", report_html(input));
}

}  // namespace cli
