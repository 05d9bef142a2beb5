// measured.json beside a manifest: what `bench --write` measured, one row per device. Declared bounds stay in the
// manifest; this is what they are compared with.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "cli/common.hpp"
#include "cli/run_record.hpp"
#include "expert/core/limits.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/json/fields.hpp"
#include "expert/json/json.hpp"
#include "expert/manifest.hpp"

namespace cli {

inline constexpr ErrorCode bad_measurements{407, "measured.json is not what expert-cli bench --write makes"};

// Times per token in milliseconds: medians.
struct Measured {
  std::string device, expert, date, git;
  std::int64_t prompt_tokens = 0, new_tokens = 0;
  double base_ms = 0, expert_ms = 0, latency_ms_overhead = 0;
  std::int64_t adapter_bytes = 0;  // that the process holds beyond those of the base's generator
};

// What a time is true of.
inline std::string device_name(Isa isa, int threads) {
  return joined({cpu_model(), ", ", threads, threads == 1 ? " thread, " : " threads, ", name_of(isa)});
}
inline std::string measured_file(const Manifest& manifest) {
  return (std::filesystem::path(manifest.file).parent_path() / "measured.json").string();
}

inline Json to_json(const Measured& m) {
  return Json::object()
      .set("device", m.device)
      .set("expert", m.expert)
      .set("date", m.date)
      .set("git", m.git)
      .set("prompt_tokens", m.prompt_tokens)
      .set("new_tokens", m.new_tokens)
      .set("base_ms_per_token", m.base_ms)
      .set("expert_ms_per_token", m.expert_ms)
      .set("latency_ms_overhead", m.latency_ms_overhead)
      .set("adapter_bytes", m.adapter_bytes);
}

// The rows of the file, an empty list where there is none. Throws E407, E200 to E21x.
inline Json read_measured(const std::string& file) {
  if (!std::filesystem::exists(file)) return Json::array();
  Json rows = read_json(file, default_limits.config_bytes);
  const auto is = [](const Json& row, const char* key, auto&& kind) {
    const Json* value = row.find(key);
    return value != nullptr && kind(*value);
  };
  const auto refuse = [&](const std::string& where, const char* expected) {
    throw Error(bad_measurements,
                {.file = file, .where = where, .expected = expected, .fix = "Remove the file and measure again"});
  };
  if (!rows.is_array()) refuse("/", "a list of measurements");
  std::size_t index = 0;
  for (const Json& row : rows.items()) {
    const std::string where = "/" + std::to_string(index++);
    if (!row.is_object()) refuse(where, "an object");
    for (const char* key : {"device", "expert", "date"})
      if (!is(row, key, [](const Json& v) { return v.is_string(); })) refuse(where + "/" + key, "a text");
    if (!is(row, "latency_ms_overhead", [](const Json& v) { return v.is_number(); }))
      refuse(where + "/latency_ms_overhead", "a number");
  }
  return rows;
}

// The row of this device and expert, or null.
inline const Json* measured_on(const Json& rows, const std::string& device, const std::string& expert) {
  for (const Json& row : rows.items())
    if (row.find("device")->as_string() == device && row.find("expert")->as_string() == expert) return &row;
  return nullptr;
}

// Replaces the row of the same device and expert.
inline void write_measured(const std::string& file, const Measured& measured) {
  Json rows = Json::array();
  const Json before = read_measured(file);
  const Json* replaced = measured_on(before, measured.device, measured.expert);
  for (const Json& row : before.items())
    if (&row != replaced) rows.push(row);
  rows.push(to_json(measured));
  AtomicFile out(file);
  out.write(rows.dump(2) + "\n");
  out.commit();
}

}  // namespace cli
