// The arguments of main -> a parsed CLI::App, a command that runs, an exit code: what all our programs share.
#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "cli/common.hpp"
#include "expert/io/cache_file.hpp"
#include "expert/json/fields.hpp"

namespace cli {

// --max_new_tokens is --max-new-tokens; values keep their underscores.
inline std::vector<std::string> with_dashes(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (std::string& argument : arguments) {
    if (!argument.starts_with("--")) continue;
    const std::size_t end = std::min(argument.find('='), argument.size());
    std::replace(argument.begin(), argument.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
  }
  return arguments;
}

inline void add_cache_option(CLI::App& command, std::string& directory, const std::string& what) {
  command.add_option("--cache", directory,
                     "directory that keeps " + what +
                         " for the next run, or none; default: $XDG_CACHE_HOME/expert or ~/.cache/expert");
}
// Of --cache; empty: nothing is kept, as where the environment names no directory.
inline std::string cache_directory(const std::string& flag) {
  if (flag == "none") return {};
  return flag.empty() ? default_cache_directory() : flag;
}

// Throws EXPERT-E400 for the first argument that nothing took, naming the flag that is spelt most like it.
inline void refuse_extras(const CLI::App& command) {
  const std::vector<std::string> extras = command.remaining();
  if (extras.empty()) return;
  const std::string word = extras.front().substr(0, extras.front().find('='));
  std::string nearest;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames())
      if (nearest.empty() || edit_distance(word, "--" + name) < edit_distance(word, nearest)) nearest = "--" + name;
  for (const CLI::App* other : command.get_subcommands([](const CLI::App*) { return true; }))
    if (nearest.empty() || edit_distance(word, other->get_name()) < edit_distance(word, nearest))
      nearest = other->get_name();
  const bool close = edit_distance(word, nearest) <= 3;
  const CLI::App* parent = command.get_parent();
  throw Error(unknown_flag,
              {.file = {},
               .where = parent == nullptr ? command.get_name() : parent->get_name() + " " + command.get_name(),
               .expected = close ? nearest : "the flags that --help lists",
               .got = expert::quoted(extras.front()),
               .fix = close ? "Write " + nearest : ""});
}

namespace detail {

// The commands of an app and the commands below those: all, or the ones that the command line names.
inline std::vector<CLI::App*> commands_of(CLI::App& app, bool named) {
  std::vector<CLI::App*> commands;
  for (CLI::App* command : app.get_subcommands([&](CLI::App* c) { return !named || c->parsed(); })) {
    commands.push_back(command);
    for (CLI::App* below : commands_of(*command, named)) commands.push_back(below);
  }
  return commands;
}

template <class Run>
int parse_and_run(CLI::App& app, int argc, char** argv, const Run& run) {
  bool json = false;
  std::vector<CLI::App*> commands = commands_of(app, false);
  const bool has_commands = !commands.empty();
  if (!has_commands) commands.push_back(&app);
  app.allow_extras();
  for (CLI::App* command : commands) {
    command->allow_extras();
    command->add_flag("--json", json, "the result as one JSON object on stdout");
  }
  std::vector<std::string> arguments = with_dashes(argc, argv);
  json = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
  Report report(json);
  const auto finish = [&](ExitCode code) {
    report.finish(code);
    return static_cast<int>(code);
  };
  try {
    try {
      std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
      app.parse(std::move(arguments));
    } catch (const CLI::CallForHelp&) {
      const auto chosen = app.get_subcommands();
      std::fputs((chosen.empty() ? app : *chosen.front()).help().c_str(), stdout);
      return ok;
    } catch (const CLI::ParseError& e) {
      for (const CLI::App* command : has_commands ? commands_of(app, true) : commands)
        refuse_extras(*command);  // a typo may be why it is missing
      throw Error(
          bad_command_line,
          {.file = {}, .where = {}, .expected = {}, .got = e.what(), .fix = "See " + app.get_name() + " --help"});
    }
    refuse_extras(app);
    if (has_commands && app.get_subcommands().empty()) {
      std::fputs(app.help().c_str(), stderr);
      return finish(refused);
    }
    for (const CLI::App* command : commands_of(app, true)) refuse_extras(*command);
    return finish(run(report));
  } catch (const Error& e) {
    report.complain({e});
    return finish(exit_code_of(e));
  }
}

}  // namespace detail

// Parses, refuses what no flag took, and calls run(Report&) -> ExitCode; whatever is thrown becomes one sentence and an
// exit code. An app with commands needs one of them.
template <class Run>
int run_program(CLI::App& app, int argc, char** argv, const Run& run) {
  try {
    return detail::parse_and_run(app, argc, argv, run);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "%s: out of memory\n", app.get_name().c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), e.what());
  }
  return failed;
}

}  // namespace cli
