// A JSON Schema's keywords, read and checked; two schemas that both hold -> one; alternatives that exclude each other.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/grammar/number_range.hpp"
#include "expert/grammar/syntax.hpp"
#include "expert/json/json.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode schema_invalid{337, "a JSON Schema has a value that it cannot have"};
inline constexpr ErrorCode schema_unsupported{339, "a JSON Schema asks for what a grammar cannot say"};
inline constexpr ErrorCode schema_reference{340, "a $ref of a JSON Schema leads nowhere"};
inline constexpr ErrorCode schema_empty{341, "no value satisfies a JSON Schema"};

namespace detail {

class SchemaReader {
 public:
  SchemaReader(const Json& root, std::string file) : root_(root), file_(std::move(file)) {}

  [[noreturn]] void fail(ErrorCode code, const std::string& pointer, std::string expected, std::string got,
                         std::string fix) const {
    throw Error(code, {.file = file_,
                       .where = pointer.empty() ? "the whole schema" : pointer,
                       .expected = std::move(expected),
                       .got = std::move(got),
                       .fix = std::move(fix)});
  }
  // A name as a part of a JSON pointer.
  static std::string token(std::string_view name) {
    std::string out;
    for (const char c : name) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
    return out;
  }

  // Every member is a keyword that is supported or that asserts nothing.
  void check_keywords(const Json& s, const std::string& at) const {
    if (!s.is_object()) fail(schema_invalid, at, "an object, true or false", s.described(), "");
    for (const auto& [key, value] : s.members()) {
      const bool harmless = key == "uniqueItems" && value.is_bool() && !value.as_bool();
      if (!is_one_of(key, assertions()) && !is_one_of(key, annotations()) && !harmless)
        fail(schema_unsupported, joined({at, "/", token(key)}), "a keyword that is supported", expert::quoted(key),
             "Leave it out and check the finished text for it");
    }
  }
  // Members that restrict values, besides these.
  bool has_assertions(const Json& s, std::initializer_list<std::string_view> besides) const {
    for (const auto& [key, value] : s.members())
      if (is_one_of(key, assertions()) && std::find(besides.begin(), besides.end(), key) == besides.end()) return true;
    return false;
  }
  static Json without(const Json& s, std::string_view key) {
    Json rest = Json::object();
    for (const auto& [name, value] : s.members())
      if (name != key) rest.set(name, value);
    return rest;
  }

  std::pair<const Json*, std::string> resolve(const Json& ref, const std::string& at) const {
    const std::string pointer = joined({at, "/$ref"});
    const std::string& target = text(ref, pointer);
    const Json* found = target.starts_with('#') ? root_.at_pointer(std::string_view(target).substr(1)) : nullptr;
    if (!found)
      fail(schema_reference, pointer, "\"#\" or \"#/...\", a place in this schema", expert::quoted(target), "");
    return {found, target.substr(1)};
  }

  const Json::Array& array(const Json& value, const std::string& at) const {
    if (!value.is_array()) fail(schema_invalid, at, "an array", value.described(), "");
    return value.items();
  }
  const Json::Members& object(const Json& value, const std::string& at) const {
    if (!value.is_object()) fail(schema_invalid, at, "an object", value.described(), "");
    return value.members();
  }
  const std::string& text(const Json& value, const std::string& at) const {
    if (!value.is_string()) fail(schema_invalid, at, "a string", value.described(), "");
    return value.as_string();
  }
  std::vector<std::string> texts(const Json& s, std::string_view key, const std::string& at) const {
    std::vector<std::string> out;
    if (const Json* list = s.find(key))
      for (const Json& item : array(*list, joined({at, "/", key}))) out.push_back(text(item, joined({at, "/", key})));
    return out;
  }
  std::int64_t count(const Json& s, std::string_view key, std::int64_t otherwise, const std::string& at) const {
    const Json* value = s.find(key);
    if (!value) return otherwise;
    constexpr std::int64_t most = std::int64_t{1} << 31;
    if (!value->is_integer() || value->as_int() < 0 || value->as_int() > most)
      fail(schema_invalid, joined({at, "/", key}), joined({"an integer from 0 to ", most}), value->described(), "");
    return value->as_int();
  }
  // The narrower of an inclusive and an exclusive bound.
  std::optional<NumberBound> bound(const Json& s, std::string_view closed, std::string_view open, const std::string& at,
                                   bool upper) const {
    std::optional<NumberBound> out;
    for (const bool is_open : {false, true}) {
      const std::string_view key = is_open ? open : closed;
      const Json* value = s.find(key);
      if (!value) continue;
      if (!value->is_number() || std::abs(value->as_double()) > 0x1p53)
        fail(schema_invalid, joined({at, "/", key}), "a number from -2^53 to 2^53", value->described(), "");
      const double v = value->as_double();
      if (!out || (upper ? v <= out->value : v >= out->value)) out = NumberBound{v, is_open};
    }
    return out;
  }

  // The allowed types; all where none is stated.
  std::vector<std::string> types(const Json& s, const std::string& at) const {
    const std::vector<std::string> all{"object", "array", "string", "number", "integer", "boolean", "null"};
    const Json* type = s.find("type");
    if (!type) return all;
    const std::vector<std::string> named =
        type->is_string() ? std::vector<std::string>{type->as_string()} : texts(s, "type", at);
    for (const std::string& name : named)
      if (std::find(all.begin(), all.end(), name) == all.end())
        fail(schema_invalid, at + "/type", "object, array, string, number, integer, boolean or null",
             expert::quoted(name), "");
    return named;
  }
  static bool has_type(const Json& value, const std::vector<std::string>& types) {
    const auto is = [&](std::string_view type) { return std::find(types.begin(), types.end(), type) != types.end(); };
    return (value.is_object() && is("object")) || (value.is_array() && is("array")) ||
           (value.is_string() && is("string")) || (value.is_number() && is("number")) ||
           (value.is_integer() && is("integer")) || (value.is_bool() && is("boolean")) ||
           (value.is_null() && is("null"));
  }

  std::string pattern_of_format(const Json& format, const std::string& at) const {
    constexpr std::pair<std::string_view, std::string_view> patterns[] = {
        {"date", R"(^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$)"},
        {"time", R"(^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$)"},
        {"date-time", R"(^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?)"
                      R"((Z|[+-]([01]\d|2[0-3]):[0-5]\d)$)"},
        {"uuid", R"(^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$)"},
        {"ipv4", R"(^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)$)"},
        {"email", R"(^[A-Za-z0-9_%+-]+(\.[A-Za-z0-9_%+-]+)*@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)"
                  R"((\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+$)"},
        {"hostname",
         R"(^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$)"},
        {"uri", R"(^[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+$)"},
    };
    const std::string& name = text(format, at);
    for (const auto& [known, pattern] : patterns)
      if (name == known) return std::string(pattern);
    fail(schema_unsupported, at, "date, time, date-time, uuid, ipv4, email, hostname or uri", expert::quoted(name),
         "Say it as a pattern");
  }

  // $ref and allOf folded into the rest.
  Json joined_schema(const Json& s, const std::string& at) const {
    if (const Json* ref = s.find("$ref")) return join(without(s, "$ref"), referred(*ref, at), at);
    Json out = without(s, "allOf");
    std::size_t i = 0;
    for (const Json& part : array(*s.find("allOf"), at + "/allOf")) out = join(out, part, joined({at, "/allOf/", i++}));
    return out;
  }
  // A schema that holds where both do.
  Json join(const Json& a, const Json& b_given, const std::string& at) const {
    const Json b = b_given.is_object() && b_given.find("$ref") ? joined_schema(b_given, at) : b_given;
    if (b.is_bool() && b.as_bool()) return a;
    check_keywords(b, at);
    Json out = a;
    for (const auto& [key, value] : b.members()) {
      const Json* mine = a.find(key);
      if (is_one_of(key, annotations()) || (mine && mine->dump() == value.dump())) continue;
      out.set(key, mine ? both(key, *mine, value, a, b, at) : value);
    }
    const auto looks_at_siblings = [](const Json& s) { return s.find("additionalProperties") || s.find("items"); };
    const auto has_siblings = [](const Json& s) { return s.find("properties") || s.find("prefixItems"); };
    if ((looks_at_siblings(a) && has_siblings(b)) || (looks_at_siblings(b) && has_siblings(a)))
      fail(schema_unsupported, at, "no additionalProperties or items in one of two schemas whose members are joined",
           {}, "State them together");
    return out;
  }

  // Throws E339 where two of them might hold at once.
  void require_disjoint(const std::vector<Json>& schemas, const std::string& at) const {
    for (std::size_t i = 0; i < schemas.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (!disjoint(schemas[i], schemas[j], at))
          fail(schema_unsupported, at, "alternatives that exclude each other by type, value or a required member",
               joined({"numbers ", j, " and ", i}), "Use anyOf if both may hold");
  }

 private:
  using Names = std::vector<std::string_view>;
  static Names assertions() {
    return {"type",
            "enum",
            "const",
            "$ref",
            "anyOf",
            "oneOf",
            "allOf",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "prefixItems",
            "additionalItems",
            "minProperties",
            "maxProperties",
            "minItems",
            "maxItems",
            "minLength",
            "maxLength",
            "pattern",
            "format",
            "minimum",
            "exclusiveMinimum",
            "maximum",
            "exclusiveMaximum"};
  }
  static Names annotations() {
    return {"title",     "description", "default", "examples", "deprecated", "readOnly",
            "writeOnly", "$schema",     "$id",     "$comment", "$defs",      "definitions"};
  }
  static bool is_one_of(std::string_view key, const Names& names) {
    return std::find(names.begin(), names.end(), key) != names.end();
  }

  const Json& referred(const Json& ref, const std::string& at) const {
    const Json* target = resolve(ref, at).first;
    for (int i = 0; target->is_object() && target->find("$ref"); ++i) {
      if (i == 32 || has_assertions(*target, {"$ref"}))
        fail(schema_unsupported, at + "/$ref", "a reference to a schema without further references", {}, "");
      target = resolve(*target->find("$ref"), at).first;
    }
    return *target;
  }

  Json both(const std::string& key, const Json& x, const Json& y, const Json& a, const Json& b,
            const std::string& at) const {
    const bool lower = key == "minimum" || key == "exclusiveMinimum" || key.starts_with("min");
    const bool upper = key == "maximum" || key == "exclusiveMaximum" || key.starts_with("max");
    if ((lower || upper) && x.is_number() && y.is_number()) return (x.as_double() < y.as_double()) == lower ? y : x;
    if (key == "required") {
      Json all = x;
      for (const Json& name : array(y, at + "/required"))
        if (std::none_of(x.items().begin(), x.items().end(), [&](const Json& n) { return n.dump() == name.dump(); }))
          all.push(name);
      return all;
    }
    if (key == "type") {
      Json common = Json::array();
      const std::vector<std::string> mine = types(a, at), other = types(b, at);
      const auto has = [](const std::vector<std::string>& list, std::string_view type) {
        return std::find(list.begin(), list.end(), type) != list.end();
      };
      for (const std::string& type : mine)
        if (has(other, type) || (type == "integer" && has(other, "number"))) common.push(type);
      if (has(mine, "number") && !has(mine, "integer") && has(other, "integer")) common.push("integer");
      if (common.items().empty()) fail(schema_empty, at + "/type", "a type that both schemas allow", "none", "");
      return common;
    }
    if (key == "properties") {
      Json all = x;
      for (const auto& [name, schema] : object(y, at + "/properties")) {
        if (x.find(name))
          all.set(name, joined_property(*x.find(name), schema));
        else
          all.set(name, schema);
      }
      return all;
    }
    fail(schema_unsupported, joined({at, "/", key}), "one statement of it", "two that differ", "Join them by hand");
  }
  static Json joined_property(const Json& x, const Json& y) {
    Json all = Json::array(), out = Json::object();
    all.push(x).push(y);
    out.set("allOf", all);
    return out;
  }

  bool disjoint(const Json& a, const Json& b, const std::string& at) const {
    if (!a.is_object() || !b.is_object()) return false;
    const std::vector<std::string> x = types(a, at), y = types(b, at);
    const auto common = [](const std::vector<std::string>& p, const std::vector<std::string>& q) {
      const auto covers = [&](const std::string& t) {
        return std::find(q.begin(), q.end(), t) != q.end() ||
               (t == "integer" && std::find(q.begin(), q.end(), "number") != q.end());
      };
      return std::any_of(p.begin(), p.end(), covers);
    };
    if (!common(x, y) && !common(y, x)) return true;
    if (disjoint_values(a, b)) return true;
    const bool objects = x == std::vector<std::string>{"object"} && y == x;
    const Json *p = a.find("properties"), *q = b.find("properties");
    if (!objects || !p || !q) return false;
    for (const std::string& name : texts(a, "required", at)) {
      const std::vector<std::string> other = texts(b, "required", at);
      if (std::find(other.begin(), other.end(), name) == other.end()) continue;
      if (p->find(name) && q->find(name) && disjoint(*p->find(name), *q->find(name), at)) return true;
    }
    return false;
  }
  static std::optional<std::vector<std::string>> stated_values(const Json& s) {
    std::vector<std::string> out;
    if (const Json* value = s.find("const")) return std::vector<std::string>{value->dump()};
    const Json* list = s.find("enum");
    if (!list || !list->is_array()) return std::nullopt;
    for (const Json& value : list->items()) out.push_back(value.dump());
    return out;
  }
  static bool disjoint_values(const Json& a, const Json& b) {
    const auto x = stated_values(a), y = stated_values(b);
    if (!x || !y) return false;
    return std::none_of(x->begin(), x->end(),
                        [&](const std::string& v) { return std::find(y->begin(), y->end(), v) != y->end(); });
  }

  const Json& root_;
  std::string file_;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
