// `chat`: a conversation, line by line: each line of stdin is a message, each answer goes to stdout as it grows.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>

#include "cli/answer_options.hpp"
#include "cli/common.hpp"
#include "cli/jobs.hpp"
#include "cli/resolve.hpp"
#include "expert/data/sql_text.hpp"

namespace cli {

struct ChatFlags : AnswerFlags {
  std::string system;
};

inline CLI::App* add_chat(CLI::App& app, ChatFlags& flags) {
  CLI::App* command =
      app.add_subcommand("chat", "A conversation: each line of stdin is a message, /help is no message");
  add_answer_options(*command, flags);
  command->get_option("--manifest")
      ->required(false)
      ->description("manifest.json of the expert; default: the one in the adapter's directory");
  command->get_option("--context")
      ->description("tokens of the conversation, at most; 0: 2048, or what the expert reads");
  command->get_option("--schema")
      ->description(
          "file with the schema of all answers; implies --schema-bound, and without --system it is the system message, "
          "as in "
          "rows with a context");
  command->add_option("--system", flags.system, "the message before the first one");
  return command;
}

// Of --manifest, else the one that training left beside the adapter. Throws E401.
inline std::string manifest_of_chat(const ChatFlags& flags) {
  if (!flags.model.manifest.empty()) return flags.model.manifest;
  const std::string beside = (std::filesystem::path(flags.adapter) / "manifest.json").string();
  if (flags.adapter != "none" && std::filesystem::exists(beside)) return beside;
  throw Error(bad_command_line, {.where = "--manifest",
                                 .expected = "a manifest, or an adapter's directory with one",
                                 .got = "neither",
                                 .fix = "Give --manifest FILE"});
}

// A schema is narrowed to where there is one: a conversation has no rows that bring theirs. Throws E401.
inline void choose_schema(const ChatFlags& flags, ChatJob& job, const Report& report) {
  if (job.schema_bound && job.schema.empty()) {
    if (flags.schema_bound)
      throw Error(
          bad_command_line,
          {.where = "--schema-bound", .expected = "a schema", .got = "none", .fix = "Name its file with --schema"});
    job.schema_bound = false;
    report.say("answers are not bound to a schema: --schema names none");
  }
  job.system = flags.system;
  if (job.system.empty() && !job.schema.empty())
    job.system = job.rows.context_prefix + normalize_sql(job.schema, job.rows.sql);
}

template <class Experts>
ExitCode run_chat(Experts experts, ChatFlags flags, Report& report) {
  flags.model.manifest = manifest_of_chat(flags);
  const Manifest manifest = load_with_settings(flags.model);
  return with_resolved(experts, flags.model, manifest, report, [&]<class E>(std::type_identity<E>) {
    check_pin(flags.model, manifest, report);
    ChatJob job;
    fill_answer_job<E>(flags, manifest, job, report);
    choose_schema(flags, job, report);
    return chat_expert<E>(job, report);
  });
}

}  // namespace cli
