// JSON Schema -> GrammarSyntax of the texts that are valid by it: the part of draft 7 and 2020-12 that a context-free
// grammar can say. A keyword outside of it is an error, never ignored.
//
//   type enum const $ref $defs definitions anyOf oneOf allOf, true and false
//   properties required additionalProperties minProperties maxProperties
//   items prefixItems additionalItems minItems maxItems
//   minLength maxLength pattern format    minimum maximum exclusiveMinimum exclusiveMaximum
//
// Where this is narrower than the standard:
// - Members come in the order of `properties`, then names that only `required` has, then additional ones. That
//   additional members differ from each other in name cannot be said; from the listed ones they do.
// - oneOf: its alternatives must exclude each other visibly, by type, by enum or const, or by such a member that both
//   require; else it is an error. anyOf beside other keywords: they are joined with each alternative.
// - Integers are written without point or exponent, bounded numbers without exponent.
// - Strings of a pattern or format, names of additional members beside listed ones and enum values have one spelling.
// As in the standard, keywords for one type do not exclude the other types: say "type", and additional members are
// allowed unless additionalProperties is false.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/core/text_index.hpp"
#include "expert/grammar/json_text.hpp"
#include "expert/grammar/number_range.hpp"
#include "expert/grammar/schema_merge.hpp"
#include "expert/grammar/syntax.hpp"
#include "expert/json/json.hpp"

namespace expert {
inline namespace v0 {

struct JsonSchemaOptions {
  JsonBlanks blanks = JsonBlanks::any;
};

namespace detail {

class JsonSchemaGrammar {
 public:
  JsonSchemaGrammar(const Json& schema, const std::string& file, JsonSchemaOptions options, const Limits& limits)
      : root_(schema), reader_(schema, file), json_(syntax_, options.blanks, limits), limits_(limits) {
    syntax_.file = file;
  }

  GrammarSyntax build() {
    syntax_.root = rule_of("", root_);
    for (std::size_t i = 0; i < wanted_.size(); ++i) {  // building a rule may ask for more
      const Wanted wanted = wanted_[i];
      const std::int32_t node = schema(*wanted.schema, wanted.pointer, 0);
      syntax_.rules[static_cast<std::size_t>(wanted.rule)].node = node;
    }
    return std::move(syntax_);
  }

 private:
  struct Wanted {
    std::int32_t rule;
    const Json* schema;
    std::string pointer;
  };

  // The rule of a subschema that a $ref names; each is built once, so schemas may refer to themselves.
  std::int32_t rule_of(const std::string& pointer, const Json& schema) {
    const std::string name = "#" + pointer;
    if (const std::int32_t known = rules_.find(name); known >= 0) return known;
    const std::int32_t rule = syntax_.add_rule(name);
    rules_.insert(name, rule);
    wanted_.push_back({rule, &schema, pointer});
    return rule;
  }

  std::int32_t schema(const Json& s, const std::string& at, std::int64_t depth) {
    if (depth > limits_.json_depth) reader_.fail(schema_invalid, at, "fewer schemas in schemas", "more", "");
    if (s.is_bool() && s.as_bool()) return json_.value();
    if (s.is_bool()) reader_.fail(schema_empty, at, "a schema that some value satisfies", "false", "");
    reader_.check_keywords(s, at);
    if (const Json* ref = s.find("$ref"); ref && !reader_.has_assertions(s, {"$ref"})) {
      const auto [target, pointer] = reader_.resolve(*ref, at);
      return syntax_.mention(rule_of(pointer, *target));
    }
    if (s.find("$ref") || s.find("allOf")) return schema(reader_.joined_schema(s, at), at, depth + 1);
    for (const char* key : {"anyOf", "oneOf"})
      if (const Json* list = s.find(key)) return alternatives(s, *list, key, at, depth);
    if (const Json* list = s.find("enum")) return values(s, reader_.array(*list, at + "/enum"), "enum", at);
    if (const Json* value = s.find("const")) return values(s, {*value}, "const", at);
    return typed(s, at, depth);
  }

  std::int32_t alternatives(const Json& s, const Json& list, const char* key, const std::string& at,
                            std::int64_t depth) {
    const std::string here = joined({at, "/", key});
    const Json rest = SchemaReader::without(s, key);
    const bool alone = !reader_.has_assertions(rest, {});
    std::vector<std::int32_t> choices;
    std::vector<Json> joined_schemas;
    for (const Json& branch : reader_.array(list, here)) {
      const std::string pointer = joined({here, "/", choices.size()});
      const bool refers = branch.is_object() && branch.find("$ref");
      joined_schemas.push_back(alone && !refers ? branch : reader_.join(rest, branch, pointer));
      choices.push_back(schema(alone ? branch : joined_schemas.back(), pointer, depth + 1));
    }
    if (choices.empty()) reader_.fail(schema_empty, here, "at least one alternative", "none", "");
    if (std::string_view(key) == "oneOf") reader_.require_disjoint(joined_schemas, here);
    return syntax_.choice(std::move(choices));
  }

  std::int32_t values(const Json& s, const std::vector<Json>& list, const char* key, const std::string& at) {
    if (reader_.has_assertions(s, {key, "type"}))
      reader_.fail(schema_unsupported, joined({at, "/", key}), "no other keyword than type beside it", {},
                   "Leave out values that the other keywords exclude, and the keywords");
    const std::vector<std::string> types = reader_.types(s, at);
    std::vector<std::int32_t> choices;
    for (const Json& value : list)
      if (SchemaReader::has_type(value, types)) choices.push_back(literal(value));
    if (choices.empty()) reader_.fail(schema_empty, joined({at, "/", key}), "a value of an allowed type", "none", "");
    return syntax_.choice(std::move(choices));
  }
  std::int32_t literal(const Json& value) {
    if (!value.is_object() && !value.is_array()) return syntax_.text(value.dump());
    const bool object = value.is_object();
    std::vector<std::int32_t> parts{json_.opening(object ? "{" : "[")};
    const auto part = [&](std::int32_t node) {
      if (parts.size() > 1) parts.push_back(json_.sign(","));
      parts.push_back(node);
    };
    if (object)
      for (const auto& [name, member] : value.members())
        part(json_.member(syntax_.text(Json(name).dump()), literal(member)));
    else
      for (const Json& item : value.items()) part(literal(item));
    parts.push_back(json_.closing(object ? "}" : "]"));
    return syntax_.sequence(std::move(parts));
  }

  std::int32_t typed(const Json& s, const std::string& at, std::int64_t depth) {
    if (!reader_.has_assertions(s, {})) return json_.value();
    std::vector<std::int32_t> choices;
    const std::vector<std::string> types = reader_.types(s, at);
    const auto is = [&](std::string_view type) { return std::find(types.begin(), types.end(), type) != types.end(); };
    const auto add = [&](std::int32_t node) {
      if (node >= 0) choices.push_back(node);
    };
    if (is("object")) add(object(s, at, depth));
    if (is("array")) add(array(s, at, depth));
    if (is("string")) add(string(s, at));
    if (is("number"))
      add(number(s, at, false));
    else if (is("integer"))
      add(number(s, at, true));
    if (is("boolean")) add(json_.boolean());
    if (is("null")) add(syntax_.text("null"));
    if (choices.empty()) reader_.fail(schema_empty, at, "a schema that some value satisfies", "none does", "");
    return syntax_.choice(std::move(choices));
  }

  std::int32_t number(const Json& s, const std::string& at, bool integer) {
    std::optional<NumberBound> low = reader_.bound(s, "minimum", "exclusiveMinimum", at, false);
    std::optional<NumberBound> high = reader_.bound(s, "maximum", "exclusiveMaximum", at, true);
    if (!low && !high) return integer ? json_.integer() : json_.number();
    return NumberRange(syntax_, integer).between(low, high);
  }

  std::int32_t string(const Json& s, const std::string& at) {
    const std::int64_t min = reader_.count(s, "minLength", 0, at);
    const std::int64_t max = reader_.count(s, "maxLength", GrammarNode::unbounded, at);
    const Json *pattern = s.find("pattern"), *format = s.find("format");
    if (pattern || format) {
      if (min > 0 || max >= 0 || (pattern && format))
        reader_.fail(schema_unsupported, at, "one of pattern, format, or minLength and maxLength", "several",
                     "Say the length in the pattern");
      return pattern ? json_.string_like(reader_.text(*pattern, at + "/pattern"), at + "/pattern")
                     : json_.string_like(reader_.pattern_of_format(*format, at + "/format"), at + "/format");
    }
    if (max >= 0 && max < min) return -1;
    return min == 0 && max < 0 ? json_.string() : json_.string_of(min, max);
  }

  std::int32_t array(const Json& s, const std::string& at, std::int64_t depth) {
    const std::int64_t min = reader_.count(s, "minItems", 0, at);
    std::int64_t max = reader_.count(s, "maxItems", GrammarNode::unbounded, at);
    const Json* items = s.find("items");
    const Json* prefix = s.find("prefixItems");
    const char* prefix_key = prefix ? "/prefixItems/" : "/items/";
    if (items && items->is_array()) {  // draft 7's form of prefixItems
      if (prefix) reader_.fail(schema_invalid, at + "/items", "a schema beside prefixItems", "an array", "");
      prefix = items;
      items = s.find("additionalItems");
    }
    const std::int64_t listed = prefix ? static_cast<std::int64_t>(reader_.array(*prefix, at).size()) : 0;
    if (items && items->is_bool() && !items->as_bool()) {
      max = max < 0 ? listed : std::min(max, listed);
      items = nullptr;
    }
    if (max >= 0 && max < min) return -1;
    const auto rest = [&] { return items ? schema(*items, at + "/items", depth + 1) : json_.value(); };
    if (listed == 0) return json_.list("[", max == 0 ? -1 : rest(), min, max, "]");

    // From the back: the items from number i on, each with the comma before it.
    const auto with_comma = [&](std::int64_t i, std::int32_t node) {
      return i == 0 ? node : syntax_.sequence({json_.sign(","), node});
    };
    std::int32_t tail = syntax_.text("");
    const std::int64_t more = max < 0 ? max : max - listed;
    if (more != 0 && (more > 0 || max < 0))
      tail = syntax_.repeat(with_comma(listed, rest()), std::max<std::int64_t>(min - listed, 0), more);
    for (std::int64_t i = (max < 0 ? listed : std::min(listed, max)) - 1; i >= 0; --i) {
      const Json& item = prefix->items()[static_cast<std::size_t>(i)];
      const std::int32_t node = schema(item, joined({at, prefix_key, i}), depth + 1);
      tail = syntax_.sequence({with_comma(i, node), tail});
      if (i >= min) tail = syntax_.optional(tail);
    }
    return syntax_.sequence({json_.opening("["), tail, json_.closing("]")});
  }

  struct Member {
    std::int32_t node;
    bool required;
  };
  std::int32_t object(const Json& s, const std::string& at, std::int64_t depth) {
    const std::vector<std::string> required = reader_.texts(s, "required", at);
    const auto is_required = [&](const std::string& name) {
      return std::find(required.begin(), required.end(), name) != required.end();
    };
    const Json* additional = s.find("additionalProperties");
    const bool closed = additional && additional->is_bool() && !additional->as_bool();
    const auto additional_value = [&] {
      return additional ? schema(*additional, at + "/additionalProperties", depth + 1) : json_.value();
    };
    std::vector<Member> members;
    std::vector<std::string> names;  // as they stand between quotes
    const auto add = [&](const std::string& name, std::int32_t value, bool needed) {
      const std::string key = Json(name).dump();
      names.push_back(key.substr(1, key.size() - 2));
      members.push_back({json_.member(syntax_.text(key), value), needed});
    };
    if (const Json* properties = s.find("properties"))
      for (const auto& [name, property] : reader_.object(*properties, at + "/properties")) {
        if (property.is_bool() && !property.as_bool()) {  // must not be there
          if (is_required(name)) return -1;
          const std::string key = Json(name).dump();
          names.push_back(key.substr(1, key.size() - 2));
          continue;
        }
        add(name, schema(property, joined({at, "/properties/", SchemaReader::token(name)}), depth + 1),
            is_required(name));
      }
    for (const std::string& name : required) {
      const Json* properties = s.find("properties");
      if (properties && properties->find(name)) continue;
      if (closed) return -1;
      add(name, additional_value(), true);
    }
    const std::int64_t min = reader_.count(s, "minProperties", 0, at);
    const std::int64_t max = reader_.count(s, "maxProperties", GrammarNode::unbounded, at);
    if (members.empty() && names.empty()) {
      if (max >= 0 && max < min) return -1;
      if (closed) return min > 0 ? -1 : json_.list("{", -1, 0, 0, "}");
      return json_.list("{", json_.member(json_.string(), additional_value()), min, max, "}");
    }
    if (s.find("minProperties") || s.find("maxProperties"))
      reader_.fail(schema_unsupported, at, "no minProperties or maxProperties beside properties", "them",
                   "List what is required");
    std::int32_t more = -1;
    if (!closed) more = json_.member(json_.string_except(names), additional_value());
    return syntax_.sequence({json_.opening("{"), members_from(members, more), json_.closing("}")});
  }

  // The members in their order, those not required perhaps left out, then any number of `more` (-1: none). Two chains
  // of rules from the back: what may come behind a member, and what while there is none yet.
  std::int32_t members_from(const std::vector<Member>& members, std::int32_t more) {
    std::int32_t behind = syntax_.text(""), first = behind;
    if (more >= 0) {
      behind = syntax_.repeat(syntax_.sequence({json_.sign(","), more}), 0, GrammarNode::unbounded);
      first = syntax_.optional(syntax_.sequence({more, behind}));
    }
    for (std::size_t i = members.size(); i-- > 0;) {
      const std::int32_t rest = syntax_.mention(syntax_.add_rule("json-members", behind));
      const std::int32_t here = syntax_.sequence({members[i].node, rest});
      first = members[i].required ? here : syntax_.choice({here, first});
      const std::int32_t next = syntax_.sequence({json_.sign(","), here});
      behind = members[i].required ? next : syntax_.choice({next, rest});
    }
    return first;
  }

  const Json& root_;
  GrammarSyntax syntax_;
  SchemaReader reader_;
  JsonText json_;
  const Limits& limits_;
  TextIndex rules_;
  std::vector<Wanted> wanted_;
};

}  // namespace detail

// `file` is only named in messages. Throws E210 ... E215 where the text is no JSON, E337 ... E341 with the JSON
// pointer.
inline GrammarSyntax json_schema_grammar(const Json& schema, const std::string& file, JsonSchemaOptions options = {},
                                         const Limits& limits = default_limits) {
  return detail::JsonSchemaGrammar(schema, file, options, limits).build();
}
inline GrammarSyntax parse_json_schema(std::string_view schema, const std::string& file, JsonSchemaOptions options = {},
                                       const Limits& limits = default_limits) {
  return json_schema_grammar(parse_json(schema, file, limits.grammar_bytes, limits), file, options, limits);
}

}  // namespace v0
}  // namespace expert
