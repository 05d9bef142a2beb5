// What this process holds, as Linux counts it.
#pragma once
#include <cstdint>
#include <fstream>
#include <string>

// A line of /proc/self/status in bytes: "RssAnon" is what the process holds beyond mapped files, "VmHWM" its peak in
// all.
inline std::int64_t status_bytes(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key + ":")) return std::stoll(line.substr(key.size() + 1)) * 1024;
  return 0;
}
