// GrammarSyntax -> a nondeterministic automaton over bytes for each rule that is called: edges are bytes, calls of
// rules, or free.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/grammar/analysis.hpp"
#include "expert/grammar/int_index.hpp"
#include "expert/grammar/syntax.hpp"

namespace expert {
inline namespace v0 {
namespace detail {

struct ByteRange {
  std::uint8_t low, high;
};

// Code points of equal length in UTF-8 -> sequences of byte ranges that spell them: f(ranges, length).
template <class F>
void utf8_ranges(CodeRange range, F&& f) {
  constexpr std::uint32_t last[] = {0x7f, 0x7ff, 0xffff, 0x10ffff};
  for (std::size_t length = 1; length <= 4; ++length) {
    const std::uint32_t first = length == 1 ? 0 : last[length - 2] + 1;
    const CodeRange part{std::max(range.low, first), std::min(range.high, last[length - 1])};
    if (part.low <= part.high) utf8_split(part, length, f);
  }
}
// Splits until every range of code points is a product of byte ranges.
template <class F>
void utf8_split(CodeRange range, std::size_t length, F&& f) {
  for (std::size_t k = 1; k < length; ++k) {
    const std::uint32_t mask = (1u << (6 * k)) - 1;  // of the code point's last k bytes
    if ((range.low & ~mask) == (range.high & ~mask)) continue;
    if (range.low & mask) {
      utf8_split({range.low, range.low | mask}, length, f);
      return utf8_split({(range.low | mask) + 1, range.high}, length, f);
    }
    if ((range.high & mask) != mask) {
      utf8_split({range.low, (range.high & ~mask) - 1}, length, f);
      return utf8_split({range.high & ~mask, range.high}, length, f);
    }
  }
  std::array<ByteRange, 4> bytes{};
  const auto byte_of = [length](std::uint32_t code, std::size_t i) {
    constexpr std::uint32_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    const std::uint32_t bits = code >> (6 * (length - 1 - i));
    return static_cast<std::uint8_t>(i == 0 ? lead[length] | bits : 0x80 | (bits & 0x3f));
  };
  for (std::size_t i = 0; i < length; ++i) bytes[i] = {byte_of(range.low, i), byte_of(range.high, i)};
  f(bytes, length);
}

struct Nfa {
  enum class Label : std::uint8_t { bytes, call, free };
  struct Edge {
    Label label;
    ByteRange bytes;
    std::int32_t rule, target;
    std::int32_t next;  // edge of the same state, -1 for none
  };
  std::vector<std::int32_t> first_edge;  // of each state
  std::vector<Edge> edges;

  std::int32_t add_state() {
    first_edge.push_back(-1);
    return static_cast<std::int32_t>(first_edge.size() - 1);
  }
  void add_edge(std::int32_t from, Label label, ByteRange bytes, std::int32_t rule, std::int32_t target) {
    std::int32_t& first = first_edge[static_cast<std::size_t>(from)];
    edges.push_back({label, bytes, rule, target, first});
    first = static_cast<std::int32_t>(edges.size() - 1);
  }
  void add_bytes(std::int32_t from, ByteRange bytes, std::int32_t to) { add_edge(from, Label::bytes, bytes, -1, to); }
  void add_free(std::int32_t from, std::int32_t to) { add_edge(from, Label::free, {}, -1, to); }
  template <class F>
  void each_edge(std::int32_t state, F&& f) const {
    for (std::int32_t e = first_edge[static_cast<std::size_t>(state)]; e >= 0;) {
      const Edge& edge = edges[static_cast<std::size_t>(e)];
      e = edge.next;
      f(edge);
    }
  }
};

class NfaBuilder {
 public:
  static constexpr std::int64_t share = 16384;  // states of copies that serve several mentions, about

  NfaBuilder(const GrammarSyntax& syntax, const GrammarAnalysis& analysis, const Limits& limits,
             std::int64_t max_shared)
      : syntax_(syntax), analysis_(analysis), limits_(limits), max_shared_(max_shared) {}

  struct Ends {
    std::int32_t start, accept;
  };
  // Throws E322.
  Ends build_rule(std::int32_t rule) {
    rule_ = rule;
    accept_ = nfa_.add_state();
    shared_.clear();
    pending_.assign(1, {rule, nfa_.add_state()});
    for (std::size_t i = 0; i < pending_.size(); ++i) {
      const Begin begin = pending_[i];
      nfa_.add_free(build(syntax_.rules[static_cast<std::size_t>(begin.rule)].node, begin.state, true), accept_);
    }
    return {pending_[0].state, accept_};
  }
  const Nfa& nfa() const { return nfa_; }
  bool shared() const { return has_shared_; }  // some mentions are no calls though their rule is not inlined

 private:
  using Kind = GrammarNode::Kind;

  // States from `from` on that accept the node; returns the one in which it is complete. `last`: so is then the rule
  // that is being built.
  std::int32_t build(std::int32_t at, std::int32_t from, bool last) {
    const GrammarNode& node = syntax_.at(at);
    require_room();
    switch (node.kind) {
      case Kind::text:
        for (const char c : node.text) {
          const auto byte = static_cast<std::uint8_t>(c);
          from = step(from, {byte, byte});
        }
        return from;
      case Kind::chars:
        return build_chars(node, from);
      case Kind::rule:
        return build_mention(node.rule, from, last);
      case Kind::sequence:
        for (const std::int32_t& item : node.items) from = build(item, from, last && &item == &node.items.back());
        return from;
      case Kind::choice:
        return build_choice(node, from, last);
      case Kind::repeat:
        return build_repeat(node, from, last);
    }
    return from;
  }

  std::int32_t step(std::int32_t from, ByteRange bytes) {
    const std::int32_t to = nfa_.add_state();
    nfa_.add_bytes(from, bytes, to);
    return to;
  }

  std::int32_t build_chars(const GrammarNode& node, std::int32_t from) {
    const std::int32_t to = nfa_.add_state();
    std::array<std::int32_t, 4> tails{to, -1, -1, -1};  // [k]: any k more bytes of a code point lead to `to`
    for (const CodeRange range : node.ranges) {
      require_room();
      utf8_ranges(range, [&](const std::array<ByteRange, 4>& bytes, std::size_t length) {
        std::size_t any = 0;  // how many bytes at the end are free
        while (any + 1 < length && bytes[length - 1 - any].low == 0x80 && bytes[length - 1 - any].high == 0xbf) ++any;
        for (std::size_t k = 1; k <= any; ++k)
          if (tails[k] < 0) {
            tails[k] = nfa_.add_state();
            nfa_.add_bytes(tails[k], {0x80, 0xbf}, tails[k - 1]);
          }
        std::int32_t at = from;
        for (std::size_t i = 0; i + any + 1 < length; ++i) at = step(at, bytes[i]);
        nfa_.add_bytes(at, bytes[length - 1 - any], tails[any]);
      });
    }
    return to;
  }

  std::int32_t build_mention(std::int32_t rule, std::int32_t from, bool last) {
    if (analysis_.inlined(rule)) return build(syntax_.rules[static_cast<std::size_t>(rule)].node, from, last);
    const std::int32_t to = nfa_.add_state();
    if (last && analysis_.is_small(rule)) {
      if (const std::int32_t begin = shared_begin(rule); begin >= 0) {
        nfa_.add_free(from, begin);
        return to;  // nothing leads there: what is shared leads to accept_
      }
    }
    nfa_.add_edge(from, Nfa::Label::call, {}, rule, to);
    if (analysis_.nullable(rule)) nfa_.add_free(from, to);  // so a call always reads something
    return to;
  }

  // Where the one copy of a rule begins that serves all mentions at the end of the rule that is being built: so a word
  // whose end is mentioned behind each of its letters is an automaton without calls. -1 where there is no room.
  std::int32_t shared_begin(std::int32_t rule) {
    const std::uint64_t key = IntIndex::key(rule, 0);
    if (const std::int32_t known = shared_.find(key); known >= 0) return known;
    if (max_shared_ < analysis_.weight(rule)) return -1;
    has_shared_ = true;
    max_shared_ -= analysis_.weight(rule);
    pending_.push_back({rule, nfa_.add_state()});
    shared_.insert(key, pending_.back().state);
    return pending_.back().state;
  }

  std::int32_t build_choice(const GrammarNode& node, std::int32_t from, bool last) {
    const std::int32_t to = nfa_.add_state();
    for (const std::int32_t item : node.items) {
      const std::int32_t begin = nfa_.add_state();  // of its own: a loop in the item must not lead to other items
      nfa_.add_free(from, begin);
      nfa_.add_free(build(item, begin, last), to);
    }
    return to;
  }

  std::int32_t build_repeat(const GrammarNode& node, std::int32_t from, bool last) {
    for (std::int64_t i = 0; i < node.min; ++i) from = build(node.items[0], from, last && i + 1 == node.max);
    if (node.max == 0) return from;
    const std::int32_t to = nfa_.add_state();
    if (node.max == GrammarNode::unbounded) {
      const std::int32_t loop = nfa_.add_state();
      nfa_.add_free(from, loop);
      nfa_.add_free(build(node.items[0], loop, false), loop);
      nfa_.add_free(loop, to);
      return to;
    }
    for (std::int64_t i = node.min; i < node.max; ++i) {
      nfa_.add_free(from, to);
      const std::int32_t begin = nfa_.add_state();
      nfa_.add_free(from, begin);
      from = build(node.items[0], begin, last && i + 1 == node.max);
    }
    nfa_.add_free(from, to);
    return to;
  }

  void require_room() const {
    if (!std::cmp_greater(nfa_.first_edge.size(), 4 * limits_.grammar_states)) return;
    throw Error(grammar_too_large,
                {.file = syntax_.file,
                 .where = place_of(syntax_.rules[static_cast<std::size_t>(rule_)]),
                 .expected = joined({"at most ", limits_.grammar_states, " states (grammar_states)"}),
                 .got = "more",
                 .fix = "Use smaller repetitions"});
  }

  const GrammarSyntax& syntax_;
  const GrammarAnalysis& analysis_;
  const Limits& limits_;
  std::int32_t rule_ = 0, accept_ = 0;
  struct Begin {
    std::int32_t rule, state;
  };
  std::vector<Begin> pending_;  // the rule that is being built, then those it shares
  IntIndex shared_;
  std::int64_t max_shared_;
  bool has_shared_ = false;
  Nfa nfa_;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
