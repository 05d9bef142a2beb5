// /evaluation of a manifest -> the judge that eval asks and the figures that it keeps.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "cli/common.hpp"
#include "cli/model_options.hpp"
#include "cli/verdict.hpp"
#include "expert/manifest.hpp"

namespace cli {

inline constexpr ErrorCode unfit_suite{416, "an evaluation suite is unknown or not of the expert's language"};
inline constexpr ErrorCode unknown_metric{417, "an evaluation suite has no such metric"};

struct Suite {
  std::string_view name;
  std::vector<Metric> metrics;
};

// suite "sql" judges sql-postgres: parser, guarded database, results. "text" judges every language that has a strict
// parser. Without /evaluation/suite it is the one of the language; without /evaluation/metrics all are kept. Throws
// E416 and E417.
inline Suite suite_of(const Manifest& manifest) {
  const std::string language = grammar_type(manifest);
  const bool is_postgres = language == "sql-postgres";
  const Json* named = manifest.find("/evaluation/suite");
  const std::string name = named != nullptr && !named->as_string().empty() ? named->as_string()
                           : is_postgres                                   ? "sql"
                                                                           : "text";
  const bool fits = name == "text" ? !language.empty() : name == "sql" && is_postgres;
  if (!fits)
    throw Error(unfit_suite, {.file = manifest.file,
                              .where = "/evaluation/suite",
                              .expected = "\"sql\" where grammar_type is sql-postgres, or \"text\" where there is one",
                              .got = joined({expert::quoted(name), " for grammar_type ", expert::quoted(language)}),
                              .fix = "Leave the suite out: the language has its own"});
  Suite suite{name == "sql" ? "sql" : "text", {Metric::parse_valid, Metric::exact}};
  if (name == "sql") suite.metrics = {Metric::parse_valid, Metric::executes, Metric::exact, Metric::execution_match};
  const Json* chosen = manifest.find("/evaluation/metrics");
  if (chosen == nullptr || chosen->items().empty()) return suite;
  std::string known;
  for (const Metric metric : suite.metrics) expert::append(known, {known.empty() ? "" : ", ", name_of(metric)});
  std::vector<Metric> kept;
  for (const Json& wanted : chosen->items()) {
    const auto metric = std::find_if(suite.metrics.begin(), suite.metrics.end(),
                                     [&](Metric m) { return name_of(m) == wanted.as_string(); });
    if (metric == suite.metrics.end())
      throw Error(unknown_metric, {.file = manifest.file,
                                   .where = "/evaluation/metrics",
                                   .expected = joined({"of suite ", suite.name, ": ", known}),
                                   .got = expert::quoted(wanted.as_string()),
                                   .fix = "Remove it"});
    kept.push_back(*metric);
  }
  suite.metrics = std::move(kept);
  return suite;
}

}  // namespace cli
