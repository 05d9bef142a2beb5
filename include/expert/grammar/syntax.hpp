// GrammarSyntax: a grammar as it is written, a tree for each rule. GBNF and JSON Schema become it, automata are made
// from it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/sort.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode grammar_too_large{322, "a grammar is larger than its limit"};

// Code points from low to high, both of them included.
struct CodeRange {
  std::uint32_t low, high;
  friend bool operator==(const CodeRange&, const CodeRange&) = default;
};

// The complement within Unicode's code points (surrogates excluded), sorted and joined.
std::vector<CodeRange> complement(std::vector<CodeRange> ranges);

struct GrammarNode {
  enum class Kind : std::uint8_t {
    text,      // these bytes; none is the empty sentence
    chars,     // one code point of `ranges`
    rule,      // what rule number `rule` derives
    sequence,  // `items` one after the other
    choice,    // one of `items`
    repeat,    // items[0], from `min` to `max` times
  };
  static constexpr std::int64_t unbounded = -1;

  Kind kind = Kind::text;
  std::int32_t rule = -1;
  std::int64_t min = 0, max = 0;
  std::string text = {};
  std::vector<CodeRange> ranges = {};
  std::vector<std::int32_t> items = {};
  std::int32_t line = 0, column = 0;  // of a rule's mention; 0 where the grammar was not written by hand
};

struct GrammarRule {
  std::string name;
  std::int32_t node = -1;             // -1 while it is only mentioned
  std::int32_t line = 0, column = 0;  // of its definition
};

// Trees in one array; a node is named by its index. The builders return the new node.
struct GrammarSyntax {
  std::string file = {};  // as the caller named it, for messages
  std::vector<GrammarNode> nodes = {};
  std::vector<GrammarRule> rules = {};
  std::int32_t root = 0;  // the rule that a whole text must match

  std::int32_t add(GrammarNode node) {
    nodes.push_back(std::move(node));
    return static_cast<std::int32_t>(nodes.size() - 1);
  }
  std::int32_t text(std::string_view bytes) {
    return add({.kind = GrammarNode::Kind::text, .text = std::string(bytes)});
  }
  std::int32_t chars(std::vector<CodeRange> ranges) {
    return add({.kind = GrammarNode::Kind::chars, .ranges = std::move(ranges)});
  }
  std::int32_t mention(std::int32_t rule, std::int32_t line = 0, std::int32_t column = 0) {
    return add({.kind = GrammarNode::Kind::rule, .rule = rule, .line = line, .column = column});
  }
  std::int32_t sequence(std::vector<std::int32_t> items) { return list(GrammarNode::Kind::sequence, std::move(items)); }
  std::int32_t choice(std::vector<std::int32_t> items) { return list(GrammarNode::Kind::choice, std::move(items)); }
  std::int32_t repeat(std::int32_t item, std::int64_t min, std::int64_t max) {
    return add({.kind = GrammarNode::Kind::repeat, .min = min, .max = max, .items = {item}});
  }
  std::int32_t optional(std::int32_t item) { return repeat(item, 0, 1); }

  std::int32_t add_rule(std::string name, std::int32_t node = -1, std::int32_t line = 0, std::int32_t column = 0) {
    rules.push_back({std::move(name), node, line, column});
    return static_cast<std::int32_t>(rules.size() - 1);
  }
  const GrammarNode& at(std::int32_t node) const { return nodes[static_cast<std::size_t>(node)]; }

 private:
  std::int32_t list(GrammarNode::Kind kind, std::vector<std::int32_t> items) {
    return items.size() == 1 ? items[0] : add({.kind = kind, .items = std::move(items)});
  }
};

namespace detail {

inline std::string line_and_column(std::int64_t line, std::int64_t column) {
  return joined({"line ", line, ", column ", column});
}
// Where a rule is defined; its name where the grammar was not written by hand.
inline std::string place_of(const GrammarRule& rule) {
  return rule.line == 0 ? "rule " + expert::quoted(rule.name) : line_and_column(rule.line, rule.column);
}

// Sorted by their low ends, overlaps and neighbours joined.
inline void normalize(std::vector<CodeRange>& ranges) {
  sort_list(ranges, [](const CodeRange& a, const CodeRange& b) { return a.low < b.low; });
  std::size_t kept = 0;
  for (const CodeRange range : ranges) {
    if (kept > 0 && range.low <= ranges[kept - 1].high + 1) {
      if (range.high > ranges[kept - 1].high) ranges[kept - 1].high = range.high;
    } else {
      ranges[kept++] = range;
    }
  }
  ranges.resize(kept);
}

}  // namespace detail

inline std::vector<CodeRange> complement(std::vector<CodeRange> ranges) {
  ranges.push_back({0xd800, 0xdfff});
  detail::normalize(ranges);
  std::vector<CodeRange> out;
  std::uint32_t next = 0;
  for (const CodeRange range : ranges) {
    if (range.low > next) out.push_back({next, range.low - 1});
    next = range.high + 1;
  }
  if (next <= 0x10ffff) out.push_back({next, 0x10ffff});
  return out;
}

}  // namespace v0
}  // namespace expert
