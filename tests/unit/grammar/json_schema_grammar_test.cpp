// JSON Schema as a grammar: what each keyword lets in and keeps out, what is refused, numbers between bounds.
#include "expert/grammar/json_schema.hpp"

#include <cstdio>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/grammar/automaton.hpp"
#include "expert/grammar/matcher.hpp"
#include "expert/json/json.hpp"
#include "grammar_reference.hpp"

namespace json_schema_grammar_test {
using namespace expert;

namespace {

const Vocabulary& no_tokens() {
  static const Vocabulary vocabulary(1, {}, [](std::int32_t) { return std::string(); });
  return vocabulary;
}

struct Case {
  const char* schema;
  std::vector<const char*> valid, invalid;
};
void check(const Case& c, JsonSchemaOptions options = {}) {
  const GrammarAutomaton automaton(parse_json_schema(c.schema, "s.json", options));
  TokenMasks masks(automaton, no_tokens());
  INFO(c.schema);
  const auto accepts = [&](std::string_view text) {
    GrammarMatcher matcher(masks);
    return matcher.accept_text(text) && matcher.is_accepting();
  };
  for (const char* text : c.valid) {
    INFO(text);
    CHECK(accepts(text));
    CHECK_NOTHROW(parse_json(text, "valid", 1 << 20));
  }
  for (const char* text : c.invalid) {
    INFO(text);
    CHECK_FALSE(accepts(text));
  }
}
Error schema_error(const char* schema) {
  return error_of([&] { parse_json_schema(schema, "s.json"); });
}

}  // namespace

TEST_CASE("each keyword lets in what it allows and nothing else", "[schema]") {
  const Case cases[] = {
      {"true", {"1", "[{\"a\": null}]", "\"\\ud83d\\ude00\""}, {"", "nul", "\"\\ud83d\"", "01", "[1,]", "\"\n\""}},
      {"{}", {"{}", "-0.5e+1"}, {"{a:1}"}},
      {R"({"type": ["integer", "null"]})", {"0", "-12", "null"}, {"1.5", "\"\"", "00"}},
      {R"({"enum": [1, "é\"", null, {"a": [1, 2]}]})", {"1", "\"é\\\"\"", "null", "{\"a\": [1,2]}"}, {"2", "{}"}},
      {R"({"type": "string", "enum": ["a", 1]})", {"\"a\""}, {"1"}},
      {R"({"const": {"b": []}})", {"{\"b\":[]}"}, {"{\"b\":[1]}"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]})",
       {"{\"a\":1}", "{\"a\": 1, \"b\": \"x\"}", "{\"a\":1,\"c\":2,\"aa\":3}"},
       {"{}", "{\"b\":1}", "{\"b\":1,\"a\":1}", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "{\"a\":1,}"}},
      {R"({"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "additionalProperties": false})",
       {"{}", "{\"b\":1}", "{\"a\":1,\"c\":2}", "{\"a\":1,\"b\":2,\"c\":3}"},
       {"{\"d\":1}", "{\"c\":1,\"a\":2}", "{,\"a\":1}", "{\"a\":1,,\"c\":2}"}},
      {R"({"type": "object", "required": ["x"], "additionalProperties": {"type": "boolean"}})",
       {"{\"x\":true}", "{\"x\":true,\"y\":false}"},
       {"{}", "{\"x\":1}", "{\"x\":true,\"y\":1}"}},
      {R"({"type": "object", "minProperties": 1, "maxProperties": 2})", {"{\"a\":1}", "{\"a\":1,\"b\":2}"}, {"{}"}},
      {R"({"type": "object", "properties": {"no": false}})", {"{}", "{\"n\":1}", "{\"noo\":1}"}, {"{\"no\":1}"}},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2})",
       {"[1]", "[1, 2]"},
       {"[]", "[1,2,3]", "[\"a\"]"}},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "null"}})",
       {"[]", "[1]", "[1,\"a\"]", "[1,\"a\",null,null]"},
       {"[\"a\"]", "[1,2]", "[1,\"a\",1]"}},
      {R"({"type": "array", "items": [{"const": 1}], "additionalItems": false, "minItems": 1})",
       {"[1]"},
       {"[]", "[1,1]"}},
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {"\"ab\"", "\"é\\n日\"", "\"\\ud83d\\ude00x\""},
       {"\"a\"", "\"abcd\"", "\"\\ud83d\\ude00\""}},
      {R"({"type": "string", "pattern": "^a[0-9]{2}\"\\s$"})",
       {"\"a12\\\" \"", "\"a12\\\"\\t\""},
       {"\"a1\"", "\"a12\"\""}},
      {R"({"type": "string", "pattern": "b|^c$"})", {"\"abc\"", "\"c\""}, {"\"ac\"", "\"ca\""}},
      {R"({"type": "string", "pattern": "^(?:\\d+|[^\\d,]+?)(,\\w)*$"})", {"\"12,a\"", "\"xé\""}, {"\"1x\"", "\"\""}},
      {R"({"type": "string", "format": "date-time"})",
       {"\"2024-01-31T23:59:59Z\"", "\"2024-01-31T23:59:59.123+01:00\""},
       {"\"2024-13-31T23:59:59Z\"", "\"2024-01-31\""}},
      {R"({"type": "string", "format": "date"})", {"\"2024-12-01\""}, {"\"2024-12-41\""}},
      {R"({"type": "string", "format": "time"})", {"\"00:00:00Z\""}, {"\"24:00:00Z\""}},
      {R"({"type": "string", "format": "uuid"})", {"\"123e4567-e89b-12d3-a456-426614174000\""}, {"\"123e4567\""}},
      {R"({"type": "string", "format": "ipv4"})", {"\"255.0.10.1\""}, {"\"256.0.0.1\"", "\"1.2.3\""}},
      {R"({"type": "string", "format": "email"})", {"\"a.b+c@example.com\""}, {"\"a@b\"", "\"@b.c\""}},
      {R"({"type": "string", "format": "hostname"})", {"\"a-b.example\""}, {"\"-a\""}},
      {R"({"type": "string", "format": "uri"})", {"\"https://example.com/a?b=%20\""}, {"\"example\""}},
      {R"({"type": "integer", "minimum": -3, "exclusiveMaximum": 12})",
       {"-3", "0", "9", "11"},
       {"-4", "12", "100", "1.0"}},
      {R"({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]})", {"7", "\"a\""}, {"\"ab\"", "null"}},
      {R"({"oneOf": [{"type": "integer"}, {"type": "string"}]})", {"7", "\"a\""}, {"null"}},
      {R"({"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}}, "required": ["k"]},
                     {"type": "object", "properties": {"k": {"const": "b"}, "n": {"type": "integer"}}, "required": ["k", "n"]}]})",
       {"{\"k\":\"a\"}", "{\"k\":\"b\",\"n\":1}"},
       {"{\"k\":\"b\"}", "{\"k\":\"c\"}"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]})",
       {"{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}"},
       {"{}", "{\"c\":1}"}},
      {R"({"allOf": [{"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
                     {"properties": {"a": {"minimum": 3}, "b": {"const": 1}}}]})",
       {"{\"a\":3}", "{\"a\":4.5,\"b\":1}"},
       {"{\"a\":2}", "{\"a\":3,\"b\":2}", "{}"}},
      {R"({"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"v": {"type": "number"},
           "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}}, "required": ["v", "next"],
           "additionalProperties": false}}})",
       {"{\"v\":1.5e3,\"next\":{\"v\":2,\"next\":null}}"},
       {"{\"v\":1}", "{\"v\":1,\"next\":{}}"}},
      {R"({"type": "array", "items": {"$ref": "#"}})", {"[]", "[[],[[]]]"}, {"[1]"}},
  };
  for (const Case& c : cases) check(c);
}

TEST_CASE("blanks stand where the options say", "[schema]") {
  const char* schema = R"({"type": "object", "properties": {"a": {"const": [1, 2]}}, "required": ["a"]})";
  check({schema, {"{\"a\":[1,2]}", "{\n \"a\" : [ 1 ,\t2 ] }"}, {"{\"a\":[1,2] x}"}});
  check({schema, {"{\"a\": [1, 2]}", "{\"a\":[1,2]}"}, {"{ \"a\":[1,2]}", "{\"a\":  [1,2]}"}}, {JsonBlanks::one});
  check({schema, {"{\"a\":[1,2]}"}, {"{\"a\": [1,2]}"}}, {JsonBlanks::none});
}

TEST_CASE("what a grammar cannot say is refused with its pointer", "[schema]") {
  struct Refused {
    const char* schema;
    ErrorCode code;
    const char* where;
  };
  const Refused cases[] = {
      {R"({"multipleOf": 2})", schema_unsupported, "/multipleOf"},
      {R"({"items": {"uniqueItems": true}})", schema_unsupported, "/items/uniqueItems"},
      {R"({"properties": {"a/b": {"not": {}}}})", schema_unsupported, "/properties/a~1b/not"},
      {R"({"if": {}})", schema_unsupported, "/if"},
      {R"({"patternProperties": {}})", schema_unsupported, "/patternProperties"},
      {R"({"nosuch": 1})", schema_unsupported, "/nosuch"},
      {R"({"type": "string", "format": "color"})", schema_unsupported, "/format"},
      {R"({"type": "string", "pattern": "a", "minLength": 2})", schema_unsupported, "the whole schema"},
      {R"({"enum": [1], "minimum": 0})", schema_unsupported, "/enum"},
      {R"({"oneOf": [{"type": "string"}, {"type": "string", "minLength": 2}]})", schema_unsupported, "/oneOf"},
      {R"({"oneOf": [{"type": "number"}, {"type": "integer"}]})", schema_unsupported, "/oneOf"},
      {R"({"allOf": [{"pattern": "a"}, {"pattern": "b"}]})", schema_unsupported, "/allOf/1/pattern"},
      {R"({"allOf": [{"properties": {"a": {}}}, {"additionalProperties": false}]})", schema_unsupported, "/allOf/1"},
      {R"({"type": "object", "properties": {"a": {}}, "minProperties": 1})", schema_unsupported, "the whole schema"},
      {R"({"type": "text"})", schema_invalid, "/type"},
      {R"({"type": "string", "maxLength": -1})", schema_invalid, "/maxLength"},
      {R"({"type": "number", "minimum": "0"})", schema_invalid, "/minimum"},
      {R"({"required": [1]})", schema_invalid, "/required"},
      {"[]", schema_invalid, "the whole schema"},
      {R"({"$ref": "#/$defs/x"})", schema_reference, "/$ref"},
      {R"({"$ref": "https://example.com/s.json"})", schema_reference, "/$ref"},
      {"false", schema_empty, "the whole schema"},
      {R"({"type": "string", "enum": [1]})", schema_empty, "/enum"},
      {R"({"type": "integer", "minimum": 1.2, "maximum": 1.8})", schema_empty, "the whole schema"},
      {R"({"type": "array", "minItems": 3, "maxItems": 2})", schema_empty, "the whole schema"},
      {R"({"allOf": [{"type": "string"}, {"type": "null"}]})", schema_empty, "/allOf/1/type"},
      {R"s({"type": "string", "pattern": "(?=a)"})s", pattern_unsupported, "/pattern"},
      {R"s({"type": "string", "pattern": "a\\b"})s", pattern_unsupported, "/pattern"},
      {R"s({"type": "string", "pattern": "[z-a]"})s", pattern_unsupported, "/pattern"},
      {R"s({"type": "string", "pattern": "a{3,2}"})s", pattern_unsupported, "/pattern"},
      {R"s({"type": "string", "pattern": "(a"})s", pattern_unsupported, "/pattern"},
      {R"s({"type": "string", "pattern": "a^b"})s", pattern_unsupported, "/pattern"},
  };
  for (const auto& [schema, code, where] : cases) {
    INFO(schema);
    const Error error = schema_error(schema);
    CHECK(error.code() == code.number);
    CHECK(error.detail().where == where);
  }
  CHECK(schema_error("{\"type\": ").code() == 210);
}

TEST_CASE("numbers between bounds are exactly those", "[schema]") {
  std::mt19937 random(1);
  const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
  const double scales[] = {1, 10, 100, 1000};
  for (int round = 0; round < 250; ++round) {
    GrammarSyntax syntax;
    const bool integer = below(3) == 0;
    std::optional<detail::NumberBound> low, high;
    const auto bound = [&] { return detail::NumberBound{(below(400) - 200) / scales[below(4)], below(2) == 0}; };
    if (below(5) > 0) low = bound();
    if (below(5) > 0) high = bound();
    syntax.add_rule("root");
    const std::int32_t node = detail::NumberRange(syntax, integer).between(low, high);
    if (node >= 0) syntax.rules[0].node = node;
    for (int i = 0; i < 60; ++i) {
      const double base = low && below(2) ? low->value : high ? high->value : 5;
      char text[64];
      std::snprintf(text, sizeof text, "%.*f", integer ? 0 : below(5), base + (below(21) - 10) / scales[below(4)]);
      const double value = std::strtod(text, nullptr);
      if (text[0] == '-' && value == 0) continue;
      const bool inside = (!low || (low->open ? value > low->value : value >= low->value)) &&
                          (!high || (high->open ? value < high->value : value <= high->value));
      INFO(text << (low ? " low " + std::to_string(low->value) : "")
                << (high ? " high " + std::to_string(high->value) : ""));
      CHECK((node >= 0 && reference_grammar::accepts(syntax, text)) == inside);
    }
  }
}

}  // namespace json_schema_grammar_test
