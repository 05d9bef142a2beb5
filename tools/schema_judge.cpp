#include "schema_judge.hpp"

#include <exception>

#include "child_worker.hpp"
#include "expert/json/json.hpp"
#include "sql_worker.hpp"

#ifdef EXPERT_WITH_VALIJSON
#include <nlohmann/json.hpp>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>
#endif

namespace cli {
namespace {

using expert::Error;

// By the library's own reader: its depth and its rules hold for what valijson is given.
bool is_json(const std::string& text) {
  try {
    expert::parse_json(text, {}, expert::default_limits.jsonl_line_bytes);
    return true;
  } catch (const Error&) {
    return false;
  }
}

#ifdef EXPERT_WITH_VALIJSON
constexpr bool has_valijson = true;

// Rows of one schema often follow each other. Runs in the child only: a schema that refers to itself without end and a
// pattern that tries too much are beyond what valijson survives.
struct JsonSchema {
  std::string text;
  std::unique_ptr<valijson::Schema> schema;
  bool readable = false;

  void read(const std::string& from) {
    using valijson::adapters::NlohmannJsonAdapter;
    text = from;
    readable = false;
    schema = std::make_unique<valijson::Schema>();
    const nlohmann::json document = nlohmann::json::parse(from);
    const auto no_file = [](const std::string&) -> const nlohmann::json* { return nullptr; };
    valijson::SchemaParser().populateSchema(NlohmannJsonAdapter(document), *schema, no_file,
                                            [](const nlohmann::json*) {});
    readable = true;
  }
};

// "schema\0answer": JSON text has no NUL bytes.
std::string judge_json(const std::string& request) {
  static JsonSchema known;
  const std::size_t border = request.find('\0');
  const std::string schema = request.substr(0, border), answer = request.substr(border + 1);
  try {
    if (known.schema == nullptr || known.text != schema) known.read(schema);
    if (!known.readable) return "no";
    const nlohmann::json document = nlohmann::json::parse(answer);
    const valijson::adapters::NlohmannJsonAdapter value(document);
    return valijson::Validator().validate(*known.schema, value, nullptr) ? "yes" : "no";
  } catch (const std::exception&) {  // a schema that is none, a pattern that is no regular expression
    return "no";
  }
}
#else
constexpr bool has_valijson = false;
std::string judge_json(const std::string&) { return "no"; }
#endif

bool is_about_names(std::string_view message) {
  for (const std::string_view problem : {"no such table", "no such column", "ambiguous column name"})
    if (message.find(problem) != message.npos) return true;
  return false;
}

}  // namespace

struct SchemaJudge::Judge {
  std::string language;
  SqlWorker sql;
  ChildWorker json{&judge_json};
};

SchemaJudge::SchemaJudge(std::string_view language, const std::string& manifest) : judge_(std::make_unique<Judge>()) {
  judge_->language = language;
  const bool is_sql = language.starts_with("sql-");
  if (!is_sql && language != "json")
    throw Error(rule_without_meaning, {.file = manifest,
                                       .where = "/training/dataset/validation/validate_schema",
                                       .expected = "false: only json and SQL have schemas that an answer can fit",
                                       .got = "true for " + expert::quoted(language),
                                       .fix = "Remove the field"});
  if (is_sql) require_sql();
  if (!is_sql && !has_valijson)
    throw Error(no_json_schema,
                {.expected = "valijson and nlohmann_json",
                 .got = "neither or one of them",
                 .fix = "On Debian or Ubuntu: apt-get install libvalijson-dev nlohmann-json3-dev, then configure and "
                        "build again"});
}
SchemaJudge::~SchemaJudge() = default;

bool SchemaJudge::operator()(const std::string& schema, const std::string& answer) {
  if (judge_->language != "json") return fits_sql(schema, answer);
  return is_json(schema) && is_json(answer) && judge_->json.ask(schema + '\0' + answer) == "yes";
}

bool SchemaJudge::fits_sql(const std::string& schema, const std::string& answer) {
  const SqlRun run = judge_->sql.run(schema, answer);
  if (run.status == SqlStatus::executed || run.status == SqlStatus::over_limit) return true;
  if (run.status != SqlStatus::error || is_about_names(run.message) || judge_->language == "sql-sqlite") return false;
  const bool is_postgres = judge_->language == "sql-postgres";
  if (is_postgres && !judge_->sql.syntax(SqlDialect::postgres, answer).valid) return false;
  ++unjudged_;
  return true;
}

expert::SchemaCheck SchemaJudge::check() {
  const auto fits = [](void* judge, const std::string& schema, const std::string& answer) {
    return (*static_cast<SchemaJudge*>(judge))(schema, answer);
  };
  return {fits, this};
}

}  // namespace cli
