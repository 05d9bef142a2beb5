// An answered row of any language -> whether the answer parses, and whether it is the reference.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>

#include "cli/verdict.hpp"
#include "expert/json/json.hpp"
#include "strict_parser.hpp"

namespace cli {

// Two JSON values that say the same: members in any order, 1 equals 1.0.
inline bool same_value(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number())
    return a.is_int64() && b.is_int64() ? a.as_int() == b.as_int() : a.as_double() == b.as_double();
  if (a.is_object() && b.is_object()) {
    if (a.members().size() != b.members().size()) return false;
    return std::all_of(a.members().begin(), a.members().end(), [&](const auto& member) {
      const Json* other = b.find(member.first);
      return other != nullptr && same_value(member.second, *other);
    });
  }
  if (a.is_array() && b.is_array())
    return std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(), same_value);
  if (a.is_string() && b.is_string()) return a.as_string() == b.as_string();
  if (a.is_bool() && b.is_bool()) return a.as_bool() == b.as_bool();
  return a.is_null() && b.is_null();
}

// parse_valid by the language's strict parser. exact: JSON as values, other languages as texts but for the white space
// around them. A reference that does not parse is none.
class TextJudge {
 public:
  // Throws what StrictParser throws.
  explicit TextJudge(const std::string& language) : is_json_(language == "json"), parser_(language) {}

  Verdict operator()(const AnsweredRow& row) {
    Verdict verdict;
    const SyntaxVerdict output = parser_(row.output);
    verdict[Metric::parse_valid] = output.valid;
    if (!output.valid) verdict.message = "parser: " + output.message;
    const bool comparable = row.answer && parser_(*row.answer).valid;
    if (!row.answer) verdict.gaps[static_cast<std::size_t>(Gap::without_answer)] = true;
    if (row.answer && !comparable) verdict.gaps[static_cast<std::size_t>(Gap::reference_not_parsed)] = true;
    if (comparable) verdict[Metric::exact] = output.valid && same(row.output, *row.answer);
    return verdict;
  }

 private:
  bool same(const std::string& a, const std::string& b) const {
    if (!is_json_) return trimmed(a) == trimmed(b);
    const std::int64_t most = default_limits.jsonl_line_bytes;
    return same_value(parse_json(a, {}, most), parse_json(b, {}, most));
  }
  static std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\r\n";
    const std::size_t first = text.find_first_not_of(blanks);
    return first == text.npos ? "" : text.substr(first, text.find_last_not_of(blanks) + 1 - first);
  }

  bool is_json_;
  StrictParser parser_;
};

}  // namespace cli
