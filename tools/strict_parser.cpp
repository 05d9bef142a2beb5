#include "strict_parser.hpp"

#include <charconv>
#include <optional>

#include "expert/grammar/cypher_parser.hpp"
#include "expert/json/json.hpp"
#include "sql_worker.hpp"
#include "typescript_worker.hpp"

namespace cli {
namespace {

using expert::SyntaxVerdict;
constexpr std::int64_t max_json_bytes = std::int64_t{1} << 20;

// The reader says where in words: "line 1, column 3 (offset 2)".
std::size_t offset_in(std::string_view where) {
  constexpr std::string_view label = "(offset ";
  std::size_t offset = 0;
  if (const std::size_t at = where.find(label); at != where.npos)
    std::from_chars(where.data() + at + label.size(), where.data() + where.size(), offset);
  return offset;
}

SyntaxVerdict json_syntax_of(const std::string& text) {
  try {
    expert::parse_json(text, "the text", max_json_bytes);
    return {true, {}, 0};
  } catch (const expert::Error& error) {
    return {false, error.what(), offset_in(error.detail().where)};
  }
}

std::optional<std::size_t> not_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = static_cast<unsigned char>(text[i]) < 0x80 ? 1 : expert::detail::utf8_length(text, i);
    if (length == 0) return i;
    i += length;
  }
  return std::nullopt;
}

}  // namespace

struct StrictParser::Judge {
  std::string language;
  SqlWorker sql;
  std::optional<TypeScriptWorker> typescript;
};

StrictParser::StrictParser(std::string_view language) : judge_(std::make_unique<Judge>()) {
  judge_->language = language;
  bool known = false;
  std::string expected = "one of";
  for (const std::string_view name : strict_languages) {
    known |= name == language;
    expected += " " + std::string(name);
  }
  if (!known)
    throw expert::Error(no_strict_parser,
                        {.expected = expected,
                         .got = expert::quoted(language),
                         .fix = "Use \"validation\": \"parser\", which asks the grammar, or \"none\""});
  if (language.starts_with("sql-")) require_sql();
  if (language == "typescript") judge_->typescript.emplace();
}
StrictParser::StrictParser(StrictParser&&) noexcept = default;
StrictParser& StrictParser::operator=(StrictParser&&) noexcept = default;
StrictParser::~StrictParser() = default;

SyntaxVerdict StrictParser::operator()(const std::string& text) {
  const std::string& language = judge_->language;
  if (language == "json") return json_syntax_of(text);
  if (language == "cypher") return expert::parse_cypher(text);
  if (const auto wrong = not_utf8(text)) return {false, "the text is not valid UTF-8", *wrong};
  if (language == "sql-postgres") return judge_->sql.syntax(SqlDialect::postgres, text);
  if (language == "sql-sqlite") return judge_->sql.syntax(SqlDialect::sqlite, text);
  return judge_->typescript->syntax(text);
}

}  // namespace cli
