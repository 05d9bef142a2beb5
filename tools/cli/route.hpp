// `route`: a request, or rows of them -> the experts that it belongs to.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/common.hpp"
#include "cli/routing.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/data/shapes.hpp"
#include "expert/io/gzip.hpp"
#include "expert/manifest.hpp"

namespace cli {

struct RouteOptions {
  std::vector<std::string> manifests;
  std::string text, input, output, hint;
};

inline CLI::App* add_route(CLI::App& app, RouteOptions& options) {
  CLI::App* command = app.add_subcommand("route", "Says which experts a request belongs to, by their /routing blocks");
  command->add_option("manifests", options.manifests, "manifest.json of each expert")->required();
  CLI::Option* text = command->add_option("--text", options.text, "the request");
  CLI::Option* input =
      command->add_option("--input", options.input, "rows of requests: JSON lines, plain or gzip")->excludes(text);
  command->add_option("--output", options.output, "JSON lines: each row with {experts, scores}")->needs(input);
  command->add_option("--hint", options.hint, "the domain of the request: the router_hint of its expert");
  return command;
}

inline Json route_json(const std::vector<ExpertCard>& cards, const std::vector<Route>& routes) {
  Json experts = Json::array(), scores = Json::array();
  for (const std::size_t i : chain_of(cards, routes)) experts.push(Json(cards[i].name));
  for (const Route& r : routes) {
    Json row = Json::object();
    row.set("expert", cards[r.expert].name)
        .set("score", r.score)
        .set("matches", r.matches)
        .set("hinted", r.hinted)
        .set("priority", cards[r.expert].priority);
    if (!r.vetoed_by.empty()) row.set("vetoed_by", r.vetoed_by);
    scores.push(std::move(row));
  }
  return Json::object().set("experts", std::move(experts)).set("scores", std::move(scores));
}

inline void say_route(const std::vector<ExpertCard>& cards, const std::vector<Route>& routes, const Report& report) {
  std::string chosen;
  for (const std::size_t i : chain_of(cards, routes))
    expert::append(chosen, {chosen.empty() ? "" : ", ", cards[i].name});
  report.say("expert: " + (chosen.empty() ? "none" : chosen));
  for (const Route& r : routes) {
    char score[32];
    std::snprintf(score, sizeof score, "%8.3f", r.score);
    report.say(joined({"  ", score, "  ", cards[r.expert].name, ": ", r.matches, " matches", r.hinted ? ", hinted" : "",
                       r.vetoed_by.empty() ? "" : ", vetoed by " + expert::quoted(r.vetoed_by)}));
  }
}

// What a row asks: all turns but those of the assistant, without its schema.
inline std::string request_of(const JsonRow& row, const std::string& file, const RowOptions& names) {
  RowOptions ask = names;
  ask.needs_completion = false;
  std::string text;
  for (const Segment& s : read_example(row, file, ask).segments)
    if (s.role != "system" && s.role != "assistant") expert::append(text, {text.empty() ? "" : "\n", s.content});
  return text;
}

// Refused where the experts' constraints forbid to load them together. Throws E401 without a request.
inline ExitCode run_route(const RouteOptions& options, Report& report) {
  std::vector<ExpertCard> cards;
  for (const std::string& file : options.manifests) cards.push_back(card_of(load_manifest(file)));
  if (const std::vector<Error> errors = constraint_errors(cards); !errors.empty()) {
    report.complain(errors);
    return refused;
  }
  if (options.input.empty()) {
    if (options.text.empty())
      throw Error(bad_command_line, {.file = {},
                                     .where = "route",
                                     .expected = "a request",
                                     .got = "neither --text nor --input",
                                     .fix = "Give --text TEXT, or --input ROWS --output OUT"});
    const std::vector<Route> routes = route(cards, options.text, options.hint);
    say_route(cards, routes, report);
    report.result() = route_json(cards, routes);
    return ok;
  }
  if (options.output.empty())
    throw Error(bad_command_line, {.file = {}, .where = "--output", .expected = "a file", .got = "none", .fix = {}});
  RowWriter writer(options.output);
  const auto source = open_plain_or_gzip(options.input);
  JsonlReader reader(*source, options.input);
  std::int64_t routed = 0;
  for (JsonRow row; reader.next(row);) {
    const Json found = route_json(cards, route(cards, request_of(row, options.input, {}), options.hint));
    routed += !found.find("experts")->items().empty();
    for (const auto& [key, value] : found.members()) row.value.set(key, value);
    writer.write(row.value);
  }
  require_rows(reader);
  writer.commit();
  report.say(joined({routed, " of ", reader.rows(), " rows belong to an expert"}));
  report.result().set("rows", reader.rows()).set("routed", routed);
  return ok;
}

}  // namespace cli
