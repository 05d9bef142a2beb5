// The schema of a property graph as text -> GraphSchema: its labels, relationship types and properties.
//
//   (:Movie {title: STRING, released: INTEGER})    a label and its properties
//   [:RATED {rating: FLOAT}]                       a relationship type and its properties
//   (:User)-[:RATED]->(:Movie)                     how they are connected
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "expert/grammar/schema_text.hpp"

namespace expert {
inline namespace v0 {

struct GraphSchema {
  std::vector<SchemaName> labels, relationship_types, properties;  // each once
};

namespace detail {

class GraphSchemaReader {
 public:
  GraphSchemaReader(std::string_view text, const std::string& file, const Limits& limits) : in_(text, file, limits) {}

  GraphSchema read() {
    for (in_.skip_space(); !in_.at_end(); in_.skip_space()) {
      if (in_.peek() == '[') {
        read_relationship();
      } else if (in_.peek() == '(') {
        read_node();
        while (in_.take("-") || in_.take("<-")) {
          read_relationship();
          if (!in_.take("->") && !in_.take("-")) in_.fail("\"->\" behind a relationship");
          read_node();
        }
      } else {
        in_.fail("\"(:Label {property: TYPE})\", \"[:TYPE {...}]\" or \"(:Label)-[:TYPE]->(:Label)\"");
      }
    }
    if (out_.labels.empty()) in_.fail("a label");
    if (out_.relationship_types.empty()) in_.fail("a relationship type");
    if (out_.properties.empty()) in_.fail("a property");
    return std::move(out_);
  }

 private:
  void read_node() {
    if (!in_.take("(")) in_.fail("\"(\"");
    read_kind(out_.labels, "a label", ')');
  }
  void read_relationship() {
    if (!in_.take("[")) in_.fail("\"[\"");
    read_kind(out_.relationship_types, "a relationship type", ']');
  }
  void read_kind(std::vector<SchemaName>& names, const char* what, char close) {
    if (!in_.take(":")) in_.fail("\":\" and " + std::string(what));
    do add(names, in_.take_name(what));
    while (in_.take(":"));
    if (in_.take("{")) read_properties();
    in_.skip_space();
    if (in_.take() != close) in_.fail("the end of " + std::string(what));
  }
  void read_properties() {
    in_.skip_space();
    while (!in_.take("}")) {
      add(out_.properties, in_.take_name("a property"));
      if (!in_.take(":")) in_.fail("\":\" and a type");
      in_.skip_space();
      while (in_.peek() != ',' && in_.peek() != '}') {
        if (in_.at_end()) in_.fail("\"}\" behind the properties");
        in_.skip_item();
      }
      if (in_.take(",")) in_.skip_space();
    }
  }
  static void add(std::vector<SchemaName>& names, SchemaName name) {
    for (const SchemaName& known : names)
      if (known.text == name.text) return;
    names.push_back(std::move(name));
  }

  SchemaText in_;
  GraphSchema out_;
};

}  // namespace detail

// `file` is only named in messages. Throws E349, with line and column.
inline GraphSchema read_graph_schema(std::string_view text, const std::string& file,
                                     const Limits& limits = default_limits) {
  return detail::GraphSchemaReader(text, file, limits).read();
}

}  // namespace v0
}  // namespace expert
