// expert-cli: its commands, one header each in cli/. Exit codes: 0 ok, 2 refused input, 130/143 interrupted after
// saving, 1 else.
#include <CLI/CLI.hpp>

#include "cli/about.hpp"
#include "cli/bench.hpp"
#include "cli/cache.hpp"
#include "cli/chat.hpp"
#include "cli/check.hpp"
#include "cli/command_line.hpp"
#include "cli/contract.hpp"
#include "cli/eval.hpp"
#include "cli/generate.hpp"
#include "cli/grammar.hpp"
#include "cli/inspect.hpp"
#include "cli/migrate.hpp"
#include "cli/report.hpp"
#include "cli/route.hpp"
#include "cli/tokenize.hpp"
#include "cli/train.hpp"
#include "expert_cli_experts.hpp"  // generated: CliExperts, and each expert's programs as extern templates

int main(int argc, char** argv) {
  using namespace cli;
  CLI::App app("Trains and runs small experts (LoRA, DoRA) on Qwen3-class models", "expert-cli");
  app.require_subcommand(0, 1);
  CheckOptions check;
  TokenizeOptions tokenize;
  TrainOptions train;
  train.command.assign(argv, argv + argc);
  GenerateFlags generate;
  ChatFlags chat;
  BenchFlags bench;
  GrammarOptions grammar;
  EvalOptions eval;
  CacheOptions cache;
  ReportOptions report_options;
  ContractOptions contract;
  MigrateOptions migrate;
  InspectOptions inspect;
  RouteOptions route_options;
  const CLI::App* check_command = add_check(app, check);
  const CLI::App* validate_command = add_validate(app, contract);
  const CLI::App* plan_command = add_plan(app, contract);
  const CLI::App* ls_command = add_ls(app);
  const CLI::App* scaffold_command = add_scaffold(app, contract);
  const CLI::App* migrate_command = add_migrate(app, migrate);
  const CLI::App* inspect_command = add_inspect(app, inspect);
  const CLI::App* tokenize_command = add_tokenize(app, tokenize);
  const CLI::App* train_command = add_train(app, train);
  const CLI::App* generate_command = add_generate(app, generate);
  const CLI::App* chat_command = add_chat(app, chat);
  const GrammarCommands grammar_commands = add_grammar(app, grammar);
  const CLI::App* bench_command = add_bench(app, bench);
  const CLI::App* eval_command = add_eval(app, eval);
  const CLI::App* cache_command = add_cache(app, cache);
  const CLI::App* report_command = add_report(app, report_options);
  const CLI::App* route_command = add_route(app, route_options);
  const CLI::App* env_command = add_env(app);
  const CLI::App* version_command = add_version(app);
  return run_program(app, argc, argv, [&](Report& report) {
    if (check_command->parsed()) return run_check(check, report);
    if (validate_command->parsed()) return run_validate(CliExperts{}, contract, report);
    if (plan_command->parsed()) return run_plan(CliExperts{}, contract, report);
    if (ls_command->parsed()) return run_ls(CliExperts{}, report);
    if (scaffold_command->parsed()) return run_scaffold(contract, report);
    if (migrate_command->parsed()) return run_migrate(migrate, report);
    if (inspect_command->parsed()) return run_inspect(inspect, report);
    if (env_command->parsed()) return run_env(report);
    if (version_command->parsed()) return run_version(report);
    if (tokenize_command->parsed()) return run_tokenize(tokenize, report);
    if (train_command->parsed()) return run_train(CliExperts{}, train, report);
    if (generate_command->parsed()) return run_generate(CliExperts{}, generate, report);
    if (chat_command->parsed()) return run_chat(CliExperts{}, chat, report);
    if (grammar_commands.accept->parsed()) return run_grammar_accept(grammar, report);
    if (grammar_commands.bench->parsed()) return run_grammar_bench(grammar, report);
    if (bench_command->parsed()) return run_bench(CliExperts{}, bench, report);
    if (eval_command->parsed()) return run_eval(eval, report);
    if (cache_command->parsed()) return run_cache(cache, report);
    if (route_command->parsed()) return run_route(route_options, report);
    if (report_command->parsed()) return run_report(report_options, report);
    return failed;
  });
}
