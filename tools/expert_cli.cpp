// expert-cli: check, tokenize, train, generate, eval, report. Exit codes: 0 ok, 2 refused input, 130/143 interrupted
// after saving, 1 else.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "cli/check.hpp"
#include "cli/common.hpp"
#include "cli/eval.hpp"
#include "cli/generate.hpp"
#include "cli/report.hpp"
#include "cli/tokenize.hpp"
#include "cli/train.hpp"

namespace {

using namespace cli;

// --max_new_tokens is --max-new-tokens; values keep their underscores.
std::vector<std::string> with_dashes(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (std::string& argument : arguments) {
    if (!argument.starts_with("--")) continue;
    const std::size_t end = std::min(argument.find('='), argument.size());
    std::replace(argument.begin(), argument.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
  }
  return arguments;
}

// Throws EXPERT-E400 for the first argument that nothing took, naming the flag that is spelt most like it.
void refuse_extras(const CLI::App& command) {
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
  throw Error(unknown_flag,
              {.file = {},
               .where = command.get_parent() == nullptr ? "expert-cli" : "expert-cli " + command.get_name(),
               .expected = close ? nearest : "the flags that --help lists",
               .got = expert::quoted(extras.front()),
               .fix = close ? "Write " + nearest : ""});
}

int run(int argc, char** argv) {
  CLI::App app("Trains and runs small experts (LoRA, DoRA) on Qwen3-class models", "expert-cli");
  app.require_subcommand(0, 1);
  app.allow_extras();
  bool json = false;
  CheckOptions check;
  TokenizeOptions tokenize;
  CLI::App* check_command = add_check(app, check);
  CLI::App* tokenize_command = add_tokenize(app, tokenize);
  TrainOptions train;
  train.command.assign(argv, argv + argc);
  GenerateFlags generate;
  EvalOptions eval;
  ReportOptions report_options;
  CLI::App* train_command = add_train(app, train);
  CLI::App* generate_command = add_generate(app, generate);
  CLI::App* eval_command = add_eval(app, eval);
  CLI::App* report_command = add_report(app, report_options);
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
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
      for (const CLI::App* command : app.get_subcommands()) refuse_extras(*command);  // a typo may be why it is missing
      throw Error(bad_command_line,
                  {.file = {}, .where = {}, .expected = {}, .got = e.what(), .fix = "See expert-cli --help"});
    }
    refuse_extras(app);
    if (app.get_subcommands().empty()) {
      std::fputs(app.help().c_str(), stderr);
      return finish(refused);
    }
    for (const CLI::App* command : app.get_subcommands()) refuse_extras(*command);
    if (check_command->parsed()) return finish(run_check(check, report));
    if (tokenize_command->parsed()) return finish(run_tokenize(tokenize, report));
    if (train_command->parsed()) return finish(run_train(train, report));
    if (generate_command->parsed()) return finish(run_generate(generate, report));
    if (eval_command->parsed()) return finish(run_eval(eval, report));
    if (report_command->parsed()) return finish(run_report(report_options, report));
  } catch (const Error& e) {
    report.complain({e});
    return finish(exit_code_of(e));
  }
  return finish(failed);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("expert-cli: out of memory\n", stderr);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "expert-cli: %s\n", e.what());
  }
  return cli::failed;
}
