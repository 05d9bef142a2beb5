// GrammarSyntax -> what must hold before it can be an automaton (no left recursion, every rule derives a text), and
// which rules are written out where they are mentioned.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/grammar/syntax.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode grammar_left_recursion{325, "a rule of a grammar begins with itself"};
inline constexpr ErrorCode grammar_unproductive{326, "a rule of a grammar derives no finite text"};
inline constexpr ErrorCode grammar_rules_too_deep{332, "rules of a grammar begin with rules too many times over"};

namespace detail {

class GrammarAnalysis {
 public:
  // Throws E325, E326, E332.
  GrammarAnalysis(const GrammarSyntax& syntax, const Limits& limits) : syntax_(syntax), limits_(limits) {
    find_reachable();
    const std::vector<bool> productive = fixpoint([this](std::int32_t node, const std::vector<bool>& known) {
      return derives(node, known, [](const GrammarNode& n) {
        return n.kind == Kind::text || (n.kind == Kind::chars && !n.ranges.empty());
      });
    });
    for (const std::int32_t rule : reachable_)
      if (!productive[index(rule)])
        throw Error(grammar_unproductive, {.file = syntax.file,
                                           .where = place_of(rule_at(rule)),
                                           .expected = "an alternative without " + expert::quoted(rule_at(rule).name),
                                           .got = {},
                                           .fix = "Add one that ends"});
    nullable_ = fixpoint([this](std::int32_t node, const std::vector<bool>& known) {
      return derives(node, known, [](const GrammarNode& n) { return n.kind == Kind::text && n.text.empty(); });
    });
    order_by_left_corners();
    choose_inlined();
  }

  const std::vector<std::int32_t>& reachable() const { return reachable_; }  // the root first
  bool nullable(std::int32_t rule) const { return nullable_[index(rule)]; }
  // Written out where it is mentioned; such a rule has no automaton.
  bool inlined(std::int32_t rule) const { return inlined_[index(rule)]; }
  // Of not many states of its own and not on a cycle: it may be written out once for all mentions that end a rule.
  bool is_small(std::int32_t rule) const { return small_[index(rule)]; }
  std::int64_t weight(std::int32_t rule) const { return weight_[index(rule)]; }  // its states, about
  // A rule that begins with another one has the smaller rank.
  std::int32_t rank(std::int32_t rule) const { return rank_[index(rule)]; }

 private:
  using Kind = GrammarNode::Kind;
  static std::size_t index(std::int32_t rule) { return static_cast<std::size_t>(rule); }
  const GrammarRule& rule_at(std::int32_t rule) const { return syntax_.rules[index(rule)]; }

  // How often a repetition writes its item out.
  static std::int64_t copies(const GrammarNode& repeat) {
    return std::max({std::int64_t{1}, repeat.min + (repeat.max == GrammarNode::unbounded), repeat.max});
  }
  // Calls f(node, times) for `node` and, where f returns true, for what is under it; `times` counts repetitions.
  template <class F>
  void walk(std::int32_t at, std::int64_t times, F&& f) const {
    const GrammarNode& node = syntax_.at(at);
    if (!f(node, times)) return;
    if (node.kind == Kind::repeat) times = std::min(huge, times * copies(node));
    for (const std::int32_t item : node.items) walk(item, times, f);
  }

  void find_reachable() {
    std::vector<bool> seen(syntax_.rules.size());
    users_.resize(seen.size());
    mentions_.resize(seen.size());
    callees_.resize(seen.size());
    seen[index(syntax_.root)] = true;
    reachable_.push_back(syntax_.root);
    for (std::size_t i = 0; i < reachable_.size(); ++i) {
      const std::int32_t rule = reachable_[i];
      walk(rule_at(rule).node, 1, [&](const GrammarNode& node, std::int64_t times) {
        if (node.kind == Kind::repeat && node.max == 0) return false;  // never derived
        if (node.kind != Kind::rule) return true;
        mentions_[index(node.rule)] = std::min(huge, mentions_[index(node.rule)] + times);
        callees_[index(rule)].push_back(node.rule);
        auto& users = users_[index(node.rule)];
        if (users.empty() || users.back() != rule) users.push_back(rule);
        if (!seen[index(node.rule)]) reachable_.push_back(node.rule);
        seen[index(node.rule)] = true;
        return true;
      });
    }
  }

  // The least set of rules for which holds(node, set) is true; holds must be monotone.
  template <class F>
  std::vector<bool> fixpoint(F&& holds) const {
    std::vector<bool> known(syntax_.rules.size()), queued(known.size());
    std::vector<std::int32_t> queue(reachable_.rbegin(), reachable_.rend());
    for (const std::int32_t rule : queue) queued[index(rule)] = true;
    for (std::size_t i = 0; i < queue.size(); ++i) {
      const std::int32_t rule = queue[i];
      queued[index(rule)] = false;
      if (known[index(rule)] || !holds(rule_at(rule).node, known)) continue;
      known[index(rule)] = true;
      for (const std::int32_t user : users_[index(rule)])
        if (!known[index(user)] && !queued[index(user)]) queued[index(user)] = true, queue.push_back(user);
    }
    return known;
  }
  template <class Leaf>
  bool derives(std::int32_t at, const std::vector<bool>& known, Leaf&& leaf) const {
    const GrammarNode& node = syntax_.at(at);
    switch (node.kind) {
      case Kind::text:
      case Kind::chars:
        return leaf(node);
      case Kind::rule:
        return known[index(node.rule)];
      case Kind::repeat:
        return node.min == 0 || derives(node.items[0], known, leaf);
      case Kind::sequence:
        for (const std::int32_t item : node.items)
          if (!derives(item, known, leaf)) return false;
        return true;
      case Kind::choice:
        for (const std::int32_t item : node.items)
          if (derives(item, known, leaf)) return true;
        return false;
    }
    return false;
  }
  bool is_nullable(std::int32_t node) const {
    return derives(node, nullable_, [](const GrammarNode& n) { return n.kind == Kind::text && n.text.empty(); });
  }

  // f(mention) for every rule that a text of `at` may begin with.
  template <class F>
  void left_corners(std::int32_t at, F&& f) const {
    const GrammarNode& node = syntax_.at(at);
    if (node.kind == Kind::rule) return f(node);
    if (node.kind == Kind::repeat && node.max == 0) return;
    for (const std::int32_t item : node.items) {
      left_corners(item, f);
      if (node.kind == Kind::sequence && !is_nullable(item)) return;
    }
  }

  // Depth first, without recursion: a rule may begin with a rule thousands of times over.
  void order_by_left_corners() {
    std::vector<std::vector<const GrammarNode*>> corners(syntax_.rules.size());
    for (const std::int32_t rule : reachable_)
      left_corners(rule_at(rule).node, [&](const GrammarNode& node) { corners[index(rule)].push_back(&node); });
    rank_.assign(syntax_.rules.size(), -1);
    std::vector<std::int64_t> height(rank_.size(), -1);
    std::vector<std::pair<std::int32_t, std::size_t>> path;  // rules that are open, and the next corner of each
    std::vector<bool> open(rank_.size());
    auto next_rank = static_cast<std::int32_t>(rank_.size());
    for (const std::int32_t start : reachable_) {
      if (rank_[index(start)] >= 0) continue;
      path.push_back({start, 0});
      open[index(start)] = true;
      while (!path.empty()) {
        const std::int32_t rule = path.back().first;
        if (path.back().second < corners[index(rule)].size()) {
          const GrammarNode& mention = *corners[index(rule)][path.back().second++];
          if (open[index(mention.rule)]) left_recursion(path, mention);
          if (rank_[index(mention.rule)] >= 0) continue;
          open[index(mention.rule)] = true;
          path.push_back({mention.rule, 0});
          continue;
        }
        for (const GrammarNode* corner : corners[index(rule)])
          height[index(rule)] = std::max(height[index(rule)], height[index(corner->rule)]);
        if (++height[index(rule)] > limits_.grammar_depth) too_deep(rule);
        rank_[index(rule)] = --next_rank;
        open[index(rule)] = false;
        path.pop_back();
      }
    }
  }
  [[noreturn]] void too_deep(std::int32_t rule) const {
    throw Error(grammar_rules_too_deep,
                {.file = syntax_.file,
                 .where = place_of(rule_at(rule)),
                 .expected = joined({"at most ", limits_.grammar_depth, " rules in a row (grammar_depth)"}),
                 .got = "more",
                 .fix = "Join rules that only pass on to another one"});
  }
  template <class Path>
  [[noreturn]] void left_recursion(const Path& path, const GrammarNode& mention) const {
    std::size_t begin = path.size() - 1;
    while (path[begin].first != mention.rule) --begin;
    std::string cycle;
    for (std::size_t i = begin; i < path.size() && i < begin + 8; ++i)
      append(cycle, {rule_at(path[i].first).name, " -> "});
    cycle += path.size() > begin + 8 ? "... -> " : "";
    cycle += rule_at(mention.rule).name;
    throw Error(grammar_left_recursion, {.file = syntax_.file,
                                         .where = mention.line == 0 ? place_of(rule_at(mention.rule))
                                                                    : line_and_column(mention.line, mention.column),
                                         .expected = {},
                                         .got = cycle,
                                         .fix = "Write a list as item (separator item)*"});
  }

  // Rules on a cycle are called; of the others, those that cost little to repeat are written out, so that what begins
  // alike is decided by one automaton.
  void choose_inlined() {
    inlined_.assign(syntax_.rules.size(), false);
    small_ = inlined_;
    weight_.assign(syntax_.rules.size(), 0);
    std::vector<bool> open(inlined_.size()), done(inlined_.size()), cut(inlined_.size());
    std::vector<std::int64_t> depth(inlined_.size());
    std::vector<std::pair<std::int32_t, std::size_t>> path{{syntax_.root, 0}};
    open[index(syntax_.root)] = cut[index(syntax_.root)] = true;
    while (!path.empty()) {
      const std::int32_t rule = path.back().first;
      const auto& callees = callees_[index(rule)];
      if (path.back().second < callees.size()) {
        const std::int32_t callee = callees[path.back().second++];
        if (open[index(callee)]) cut[index(callee)] = true;
        if (open[index(callee)] || done[index(callee)]) continue;
        open[index(callee)] = true;
        path.push_back({callee, 0});
        continue;
      }
      const std::size_t i = index(rule);
      for (const std::int32_t callee : callees)
        if (inlined_[index(callee)]) depth[i] = std::max(depth[i], depth[index(callee)] + 1);
      weight_[i] = weight_of(rule_at(rule).node);
      inlined_[i] = !cut[i] && depth[i] < max_inline_depth && weight_[i] * (mentions_[i] - 1) <= max_repeated_states;
      small_[i] = !cut[i] && weight_[i] <= max_repeated_states;
      open[i] = false;
      done[i] = true;
      path.pop_back();
    }
  }
  // States that a node takes, about, at most `huge`.
  std::int64_t weight_of(std::int32_t at) const {
    const GrammarNode& node = syntax_.at(at);
    switch (node.kind) {
      case Kind::text:
        return static_cast<std::int64_t>(node.text.size());
      case Kind::chars:
        return node.ranges.empty() || node.ranges.back().high < 0x80
                   ? 1
                   : 8 + static_cast<std::int64_t>(node.ranges.size());
      case Kind::rule:
        return inlined_[index(node.rule)] ? weight_[index(node.rule)] : 1;
      case Kind::repeat:
        return std::min(huge, weight_of(node.items[0]) * copies(node));
      default:
        std::int64_t sum = 0;
        for (const std::int32_t item : node.items) sum = std::min(huge, sum + weight_of(item));
        return sum;
    }
  }
  static constexpr std::int64_t max_inline_depth = 32, max_repeated_states = 64, huge = std::int64_t{1} << 30;

  const GrammarSyntax& syntax_;
  const Limits& limits_;
  std::vector<std::int32_t> reachable_, rank_;
  std::vector<std::vector<std::int32_t>> users_, callees_;
  std::vector<std::int64_t> mentions_, weight_;
  std::vector<bool> nullable_, inlined_, small_;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
