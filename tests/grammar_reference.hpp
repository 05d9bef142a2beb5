// What a grammar means, apart from any automaton: which texts it derives (sets of end positions, by its trees alone)
// and random sentences of it. The oracle of the grammar tests.
#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/grammar/syntax.hpp"
#include "expert/text/unicode.hpp"

namespace reference_grammar {

using expert::GrammarNode;
using expert::GrammarSyntax;
using Kind = GrammarNode::Kind;

// Not for left-recursive grammars.
class Recogniser {
 public:
  Recogniser(const GrammarSyntax& syntax, std::string_view text) : syntax_(syntax), text_(text) {}
  bool accepts() { return of_rule(syntax_.root, 0).count(text_.size()) == 1; }

 private:
  using Ends = std::set<std::size_t>;

  const Ends& of_rule(std::int32_t rule, std::size_t at) {
    const auto key = std::pair(rule, at);
    if (const auto found = memo_.find(key); found != memo_.end()) return found->second;
    Ends ends = of(syntax_.rules[static_cast<std::size_t>(rule)].node, at);
    return memo_.emplace(key, std::move(ends)).first->second;
  }
  Ends of(std::int32_t i, std::size_t at) {
    const GrammarNode& node = syntax_.at(i);
    switch (node.kind) {
      case Kind::text:
        return text_.substr(at, node.text.size()) == node.text ? Ends{at + node.text.size()} : Ends{};
      case Kind::chars: {
        if (at >= text_.size() || expert::detail::utf8_length(text_, at) == 0) return {};
        const expert::CodePoint point = expert::decode_utf8(text_.data() + at);
        for (const auto [low, high] : node.ranges)
          if (low <= point.code && point.code <= high) return {at + point.length};
        return {};
      }
      case Kind::rule:
        return of_rule(node.rule, at);
      case Kind::choice: {
        Ends ends;
        for (const std::int32_t item : node.items) ends.merge(of(item, at));
        return ends;
      }
      case Kind::sequence: {
        Ends ends{at};
        for (const std::int32_t item : node.items) ends = after(ends, item);
        return ends;
      }
      case Kind::repeat: {
        Ends ends{at};
        for (std::int64_t k = 0; k < node.min; ++k) ends = after(ends, node.items[0]);
        Ends all = ends;
        for (std::int64_t k = node.min; !ends.empty() && (node.max == GrammarNode::unbounded || k < node.max); ++k) {
          Ends fresh;
          for (const std::size_t end : after(ends, node.items[0]))
            if (all.insert(end).second) fresh.insert(end);
          ends = std::move(fresh);
        }
        return all;
      }
    }
    return {};
  }
  Ends after(const Ends& starts, std::int32_t item) {
    Ends ends;
    for (const std::size_t at : starts) ends.merge(of(item, at));
    return ends;
  }

  const GrammarSyntax& syntax_;
  std::string_view text_;
  std::map<std::pair<std::int32_t, std::size_t>, Ends> memo_;
};

inline bool accepts(const GrammarSyntax& syntax, std::string_view text) { return Recogniser(syntax, text).accepts(); }

// Random sentences; towards the end of the budget the shortest alternatives are taken.
class Sentences {
 public:
  Sentences(const GrammarSyntax& syntax, unsigned seed) : syntax_(syntax), random_(seed) {
    height_.assign(syntax.rules.size(), endless);
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t r = 0; r < height_.size(); ++r) {
        const int height = syntax.rules[r].node < 0 ? endless : height_of(syntax.rules[r].node) + 1;
        if (height < height_[r]) height_[r] = height, changed = true;
      }
    }
  }
  std::string draw(int budget) {
    budget_ = budget;
    std::string text;
    append(syntax_.rules[static_cast<std::size_t>(syntax_.root)].node, text);
    return text;
  }
  std::uint32_t below(std::size_t n) { return static_cast<std::uint32_t>(random_() % n); }

 private:
  static constexpr int endless = 1 << 20;

  int height_of(std::int32_t i) const {
    const GrammarNode& node = syntax_.at(i);
    if (node.kind == Kind::rule) return height_[static_cast<std::size_t>(node.rule)];
    if (node.kind == Kind::repeat) return node.min == 0 ? 0 : height_of(node.items[0]);
    int least = endless, most = 0;
    for (const std::int32_t item : node.items) {
      least = std::min(least, height_of(item));
      most = std::max(most, height_of(item));
    }
    return node.kind == Kind::choice ? least : most;
  }
  void append(std::int32_t i, std::string& text) {
    const GrammarNode& node = syntax_.at(i);
    --budget_;
    switch (node.kind) {
      case Kind::text:
        text += node.text;
        return;
      case Kind::chars: {
        const auto [low, high] = node.ranges[below(node.ranges.size())];
        const std::uint32_t span = std::min(high - low, std::uint32_t{100}) + 1;
        expert::append_utf8(text, low + below(span));
        return;
      }
      case Kind::rule:
        return append(syntax_.rules[static_cast<std::size_t>(node.rule)].node, text);
      case Kind::sequence:
        for (const std::int32_t item : node.items) append(item, text);
        return;
      case Kind::choice: {
        std::int32_t best = node.items[below(node.items.size())];
        if (budget_ < 0)
          for (const std::int32_t item : node.items)
            if (height_of(item) < height_of(best)) best = item;
        return append(best, text);
      }
      case Kind::repeat: {
        std::int64_t count = node.min;
        const std::int64_t most = node.max == GrammarNode::unbounded ? node.min + 4 : std::min(node.max, node.min + 6);
        if (budget_ > 0 && most > node.min) count += below(static_cast<std::size_t>(most - node.min + 1));
        for (std::int64_t k = 0; k < count; ++k) append(node.items[0], text);
      }
    }
  }

  const GrammarSyntax& syntax_;
  std::mt19937 random_;
  std::vector<int> height_;
  int budget_ = 0;
};

}  // namespace reference_grammar
