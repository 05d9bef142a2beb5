// `cache ls|verify|clear`: what earlier runs kept: packed weights, tokenizers, tables of vocabularies.
#pragma once
#include <sys/stat.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <string>
#include <thread>
#include <vector>

#include "cli/common.hpp"
#include "expert/io/cache_file.hpp"

namespace cli {

struct CacheOptions {
  std::string action, directory;
};

inline constexpr ErrorCode no_cache_directory{205, "there is no directory for caches"};

inline CLI::App* add_cache(CLI::App& app, CacheOptions& options) {
  CLI::App* command = app.add_subcommand("cache", "Lists, verifies or removes what runs have kept to save time");
  command->add_option("action", options.action, "ls, verify (checksums; damaged files are removed) or clear")
      ->required()
      ->check(CLI::IsMember({"ls", "verify", "clear"}));
  command->add_option("--cache", options.directory,
                      "its directory; default: $XDG_CACHE_HOME/expert or ~/.cache/expert");
  return command;
}

// Throws E203 where a file cannot be removed, E205. A damaged file is E204, after the others were verified.
inline ExitCode run_cache(const CacheOptions& options, Report& report) {
  const std::string directory = options.directory.empty() ? default_cache_directory() : options.directory;
  if (directory.empty())
    throw Error(no_cache_directory, {.expected = "XDG_CACHE_HOME or HOME in the environment",
                                     .got = "neither",
                                     .fix = "Set one, or name a directory by --cache"});
  ThreadPool pool(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  Json files = Json::array();
  std::vector<Error> damaged;
  std::int64_t total = 0;
  const auto remove = [](const std::string& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
      throw Error(file_unwritable, {.file = path, .got = system_message(errno)});
  };
  for (const std::string& path : cached_files(directory)) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) continue;  // another process removed it
    const std::int64_t bytes = status.st_size;
    std::string state = options.action == "clear" ? "removed" : options.action == "verify" ? "whole" : "";
    if (options.action == "verify") {
      try {
        open_cached_file(*cache_kind_of(path), path, pool);
      } catch (const Error& e) {
        damaged.push_back(e);
        state = "damaged, removed";
      }
    }
    if (state.ends_with("removed")) remove(path);
    total += bytes;
    report.say(joined({path, "  ", bytes, " bytes", state.empty() ? "" : ", ", state}));
    files.push(Json::object().set("path", path).set("bytes", bytes).set("state", state));
  }
  report.say(joined({directory, ": ", files.items().size(), " files, ", total, " bytes"}));
  report.result().set("directory", directory).set("files", std::move(files)).set("bytes", total);
  if (damaged.empty()) return ok;
  report.complain(damaged);
  return refused;
}

}  // namespace cli
