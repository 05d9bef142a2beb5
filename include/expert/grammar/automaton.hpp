// GrammarSyntax -> GrammarAutomaton: for each called rule a deterministic automaton over bytes and calls of rules,
// with what a step may do in each state. It knows nothing of any vocabulary.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/image.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/core/text_index.hpp"
#include "expert/grammar/analysis.hpp"
#include "expert/grammar/int_index.hpp"
#include "expert/grammar/nfa.hpp"
#include "expert/grammar/syntax.hpp"

namespace expert {
inline namespace v0 {

struct ByteSet {
  std::array<std::uint64_t, 4> words{};

  bool has(std::uint8_t byte) const { return words[byte / 64] >> (byte % 64) & 1; }
  void add(std::uint8_t byte) { words[byte / 64] |= std::uint64_t{1} << (byte % 64); }
  // True where something was new.
  bool add(const ByteSet& other) {
    std::uint64_t fresh = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      fresh |= other.words[i] & ~words[i];
      words[i] |= other.words[i];
    }
    return fresh != 0;
  }
  friend bool operator==(const ByteSet&, const ByteSet&) = default;
};

namespace detail {
struct DeterministicStates;
}

// Immutable once made; safe to read from many threads.
class GrammarAutomaton {
 public:
  static constexpr std::int32_t dead = -1;

  struct Call {
    std::int32_t rule;
    std::int32_t back;   // the state behind the call
    std::int32_t place;  // the first of all calls with this rule and this state
    bool tail;           // nothing follows `back` in its rule: it need not be kept on the stack
  };
  // What a state does on a byte. `several`: more than one of the others is possible.
  enum class Step : std::uint8_t { fail, shift, reduce, several, call };
  struct Action {
    Step step = Step::fail;
    std::int32_t value = 0;  // the next state of shift, the index into calls() of call
  };

  // Throws E322, E325, E326, E332.
  explicit GrammarAutomaton(const GrammarSyntax& syntax, const Limits& limits = default_limits) {
    const detail::GrammarAnalysis analysis(syntax, limits);
    find_first_and_follow(build(syntax, analysis, limits));
    add_actions();
    to_bytes(first_);
    to_bytes(follow_);
  }
  // From what save() wrote. Nothing where the image cannot be that of an automaton.
  static inline std::optional<GrammarAutomaton> load(ImageReader image);
  inline void save(ImageWriter& out) const;

  std::int32_t states() const { return static_cast<std::int32_t>(rule_of_.size()); }
  std::int32_t rules() const { return static_cast<std::int32_t>(start_.size()); }  // that are called; 0 is the root
  std::int32_t start(std::int32_t rule) const { return start_[index(rule)]; }
  std::int32_t rule_of(std::int32_t state) const { return rule_of_[index(state)]; }
  // The rule of the state may end here.
  bool ends(std::int32_t state) const { return ends_[index(state)] != 0; }
  std::int32_t next(std::int32_t state, std::uint8_t byte) const {
    return next_[index(state) * classes_ + class_of_[byte]];
  }
  // Equal for bytes that no state tells apart, which are neighbours; from 0 on.
  std::uint8_t class_of(std::uint8_t byte) const { return class_of_[byte]; }
  // next() of each class.
  std::span<const std::int32_t> row(std::int32_t state) const {
    return std::span(next_).subspan(index(state) * classes_, classes_);
  }
  Action action(std::int32_t state, std::uint8_t byte) const {
    const std::size_t i = index(state) * classes_ + class_of_[byte];
    const auto step = static_cast<Step>(steps_[i]);
    if (step == Step::shift) return {step, next_[i]};
    if (step < Step::call) return {step, 0};
    return {Step::call, static_cast<std::int32_t>(call_begin_[index(state)] + steps_[i] - first_call)};
  }
  std::pair<const Call*, const Call*> calls(std::int32_t state) const {
    return {calls_.data() + call_begin_[index(state)], calls_.data() + call_begin_[index(state) + 1]};
  }
  const Call& call(std::int32_t number) const { return calls_[index(number)]; }
  // Bytes that a text of the rule may begin with, and those that may stand behind one.
  const ByteSet& first(std::int32_t rule) const { return first_[index(rule)]; }
  const ByteSet& follow(std::int32_t rule) const { return follow_[index(rule)]; }
  // A rule that begins with a call of another one has the smaller rank.
  std::int32_t rank(std::int32_t rule) const { return rank_[index(rule)]; }
  // Every byte decides what is done: one stack is enough. Else several may be alive at once.
  bool is_deterministic() const { return deterministic_; }

 private:
  static constexpr auto several = static_cast<std::size_t>(Step::several);
  static constexpr auto first_call = static_cast<std::size_t>(Step::call);
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

  GrammarAutomaton() = default;
  inline bool is_sound() const;
  // States, calls, and the actions on what leads on within a rule. Returns the classes of these bytes for each state.
  inline std::vector<ByteSet> build(const GrammarSyntax& syntax, const detail::GrammarAnalysis& analysis,
                                    const Limits& limits);
  inline bool make_states(const GrammarSyntax& syntax, const detail::GrammarAnalysis& analysis, const Limits& limits,
                          std::int64_t max_shared, detail::DeterministicStates& states,
                          std::vector<std::int32_t>& number);
  inline void find_classes(const detail::Nfa& nfa);

  // Here and in add_actions the sets are of classes: there are fewer of them than bytes. begins (states): the classes
  // of the bytes that lead on within the rule.
  void find_first_and_follow(std::vector<ByteSet> begins) {
    const auto add_calls = [&](std::int32_t state) {
      const auto [begin, end] = calls(state);
      for (const Call* call = begin; call != end; ++call) begins[index(state)].add(first_[index(call->rule)]);
    };
    std::vector<std::int32_t> order(start_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
    std::sort(order.begin(), order.end(), [this](std::int32_t a, std::int32_t b) { return rank(a) > rank(b); });
    first_.resize(order.size());
    follow_.resize(order.size());
    for (const std::int32_t rule : order) {
      add_calls(start(rule));
      first_[index(rule)] = begins[index(start(rule))];
    }
    for (std::int32_t state = 0; state < states(); ++state) add_calls(state);
    struct Flow {  // what follows `from` follows `to` too
      std::int32_t from, to;
    };
    std::vector<Flow> flows;
    for (std::int32_t state = 0; state < states(); ++state) {
      const auto [begin, end] = calls(state);
      for (const Call* call = begin; call != end; ++call) {
        follow_[index(call->rule)].add(begins[index(call->back)]);
        if (ends(call->back) && rule_of(state) != call->rule) flows.push_back({rule_of(state), call->rule});
      }
    }
    for (bool changed = true; changed;) {
      changed = false;
      for (const Flow& flow : flows) changed |= follow_[index(flow.to)].add(follow_[index(flow.from)]);
    }
  }

  // To those of build().
  void add_actions() {
    deterministic_ = true;
    for (std::int32_t state = 0; state < states(); ++state) {
      std::uint8_t* row = steps_.data() + index(state) * classes_;
      const std::size_t begin = call_begin_[index(state)];
      for (std::size_t i = begin; i < call_begin_[index(state) + 1]; ++i)  // behind the numbers: as if it were unclear
        add_action(row, first(calls_[i].rule), first_call + i - begin < 256 ? first_call + i - begin : several);
      if (ends(state)) add_action(row, follow(rule_of(state)), static_cast<std::size_t>(Step::reduce));
    }
  }
  void add_action(std::uint8_t* row, const ByteSet& classes, std::size_t step) {
    for (std::size_t w = 0; w < classes.words.size(); ++w)
      for (std::uint64_t bits = classes.words[w]; bits != 0; bits &= bits - 1) {
        std::uint8_t& here = row[64 * w + static_cast<std::size_t>(std::countr_zero(bits))];
        const bool taken = here != static_cast<std::uint8_t>(Step::fail);
        here = static_cast<std::uint8_t>(taken ? several : step);
        deterministic_ &= !taken;
      }
  }
  void to_bytes(std::vector<ByteSet>& sets) const {
    for (ByteSet& set : sets) {
      const ByteSet classes = std::exchange(set, {});
      for (unsigned byte = 0; byte < 256; ++byte)
        if (classes.has(class_of_[byte])) set.add(static_cast<std::uint8_t>(byte));
    }
  }

  std::size_t classes_ = 0;  // bytes that no edge tells apart
  std::array<std::uint8_t, 256> class_of_{};
  std::vector<std::int32_t> next_;     // (states, classes)
  std::vector<std::uint8_t> steps_;    // (states, classes): a Step, or first_call and a number among the state's calls
  std::vector<std::int32_t> rule_of_;  // (states)
  std::vector<std::uint8_t> ends_;     // (states)
  std::vector<std::size_t> call_begin_;  // (states + 1)
  std::vector<Call> calls_;
  std::vector<std::int32_t> start_, rank_;  // (rules)
  std::vector<ByteSet> first_, follow_;     // (rules)
  bool deterministic_ = false;
};

namespace detail {

// Those of the states one behind the other.
struct DeterministicStates {
  using Bytes = std::pair<ByteRange, std::int32_t>;
  using Calls = std::pair<std::int32_t, std::int32_t>;
  std::vector<Bytes> bytes = {};  // of a state ascending, disjoint
  std::vector<Calls> calls = {};
  std::vector<std::size_t> bytes_begin{0}, calls_begin{0};  // (expanded states + 1)
  std::vector<std::uint8_t> ends = {};                      // (states)

  std::size_t size() const { return ends.size(); }
  std::span<const Bytes> bytes_of(std::size_t s) const {
    return std::span(bytes).subspan(bytes_begin[s], bytes_begin[s + 1] - bytes_begin[s]);
  }
  std::span<const Calls> calls_of(std::size_t s) const {
    return std::span(calls).subspan(calls_begin[s], calls_begin[s + 1] - calls_begin[s]);
  }
};

// One rule's states are sets of the Nfa's; equal sets are one state.
class Determinizer {
 public:
  using States = DeterministicStates;

  Determinizer(const Nfa& nfa, States& states, std::int64_t max_states, std::int64_t max_work)
      : nfa_(nfa),
        states_(states),
        max_states_(max_states),
        work_left_(max_work),
        mark_(nfa.first_edge.size()),
        alone_(nfa.first_edge.size()) {}

  // Appends the states of a rule, its start first. False where it takes more states or work than allowed.
  bool run(NfaBuilder::Ends ends) {
    index_.clear();
    sets_.clear();
    set_begin_.assign(1, 0);
    ++run_;
    accept_ = ends.accept;
    targets_.assign(1, ends.start);
    if (state_of_targets() < 0) return false;
    for (std::size_t i = 0; i + 1 < set_begin_.size(); ++i)
      if (!expand(i)) return false;
    return true;
  }

 private:
  // The state that stands for targets_ and all that is reached from them for free; -1 where there is no room.
  std::int32_t state_of_targets() {
    const std::int32_t only = targets_.size() == 1 ? targets_[0] : -1;
    if (only < 0) return state_of_set();
    auto& [run, state] = alone_[static_cast<std::size_t>(only)];
    if (run != run_) {
      const std::int32_t made = state_of_set();
      if (made < 0) return made;
      run = run_;
      state = made;
    }
    return state;
  }
  std::int32_t state_of_set() {
    ++serial_;
    set_.clear();
    while (!targets_.empty()) {
      const std::int32_t state = targets_.back();
      targets_.pop_back();
      if (std::exchange(mark_[static_cast<std::size_t>(state)], serial_) == serial_) continue;
      --work_left_;
      bool kept = state == accept_;
      nfa_.each_edge(state, [&](const Nfa::Edge& edge) {
        if (edge.label == Nfa::Label::free)
          targets_.push_back(edge.target);
        else
          kept = true;
      });
      if (kept) set_.push_back(state);
    }
    std::sort(set_.begin(), set_.end());
    const std::string_view key(reinterpret_cast<const char*>(set_.data()), set_.size() * sizeof set_[0]);
    const auto next = static_cast<std::int32_t>(states_.size());
    if (!index_.insert(key, next)) return index_.find(key);
    if (work_left_ < 0 || next >= max_states_) return -1;
    states_.ends.push_back(std::binary_search(set_.begin(), set_.end(), accept_));
    sets_.insert(sets_.end(), set_.begin(), set_.end());
    set_begin_.push_back(sets_.size());
    return next;
  }

  bool expand(std::size_t i) {
    edges_.clear();
    borders_.clear();
    called_.clear();
    for (std::size_t k = set_begin_[i]; k < set_begin_[i + 1]; ++k)
      nfa_.each_edge(sets_[k], [&](const Nfa::Edge& edge) {
        if (edge.label == Nfa::Label::bytes) {
          edges_.push_back(edge);
          borders_.push_back(edge.bytes.low);
          borders_.push_back(edge.bytes.high + 1u);
        } else if (edge.label == Nfa::Label::call) {
          called_.push_back({edge.rule, edge.target});
        }
      });
    if (!expand_bytes() || !expand_calls()) return false;
    states_.bytes_begin.push_back(states_.bytes.size());
    states_.calls_begin.push_back(states_.calls.size());
    return true;
  }

  bool expand_bytes() {
    if (edges_.size() == 1) return add_bytes(edges_[0].bytes, {edges_.data(), 1});
    std::sort(borders_.begin(), borders_.end());
    borders_.erase(std::unique(borders_.begin(), borders_.end()), borders_.end());
    for (std::size_t k = 0; k + 1 < borders_.size(); ++k) {
      const ByteRange bytes{static_cast<std::uint8_t>(borders_[k]), static_cast<std::uint8_t>(borders_[k + 1] - 1)};
      if (!add_bytes(bytes, edges_)) return false;
    }
    return true;
  }
  // An edge to all that `edges` lead to; no edge of them begins or ends within `bytes`.
  bool add_bytes(ByteRange bytes, std::span<const Nfa::Edge> edges) {
    targets_.clear();
    for (const Nfa::Edge& edge : edges)
      if (edge.bytes.low <= bytes.low && bytes.low <= edge.bytes.high) targets_.push_back(edge.target);
    work_left_ -= static_cast<std::int64_t>(edges.size());
    if (targets_.empty()) return true;
    const std::int32_t target = state_of_targets();
    if (target >= 0) states_.bytes.push_back({bytes, target});
    return target >= 0;
  }

  bool expand_calls() {
    std::sort(called_.begin(), called_.end());
    for (std::size_t k = 0; k < called_.size();) {
      const std::int32_t rule = called_[k].first;
      targets_.clear();
      for (; k < called_.size() && called_[k].first == rule; ++k) targets_.push_back(called_[k].second);
      const std::int32_t target = state_of_targets();
      if (target < 0) return false;
      states_.calls.push_back({rule, target});
    }
    return true;
  }

  const Nfa& nfa_;
  States& states_;
  std::int64_t max_states_, work_left_;
  std::vector<std::uint32_t> mark_;
  std::vector<std::pair<std::int32_t, std::int32_t>> alone_;  // run and state of a set made from one target
  std::int32_t run_ = 0;
  std::uint32_t serial_ = 0;
  std::int32_t accept_ = -1;
  TextIndex index_;
  std::vector<std::int32_t> sets_;  // of the rule's states, one behind the other
  std::vector<std::size_t> set_begin_;
  std::vector<std::int32_t> set_, targets_;
  std::vector<Nfa::Edge> edges_;
  std::vector<unsigned> borders_;
  std::vector<std::pair<std::int32_t, std::int32_t>> called_;
};

}  // namespace detail

inline std::vector<ByteSet> GrammarAutomaton::build(const GrammarSyntax& syntax,
                                                    const detail::GrammarAnalysis& analysis, const Limits& limits) {
  detail::DeterministicStates states;
  std::vector<std::int32_t> number;  // of a rule among those that are called
  // A rule that is written out may need many more states than one that is called: then none is.
  if (!make_states(syntax, analysis, limits, detail::NfaBuilder::share, states, number))
    make_states(syntax, analysis, limits, 0, states, number);
  detail::IntIndex places;
  std::vector<ByteSet> own(states.size());
  next_.assign(states.size() * classes_, dead);
  steps_.resize(next_.size());
  for (std::size_t s = 0; s < states.size(); ++s) {
    for (const auto& [bytes, target] : states.bytes_of(s))
      for (unsigned c = class_of_[bytes.low]; c <= class_of_[bytes.high]; ++c) {
        own[s].add(static_cast<std::uint8_t>(c));
        next_[s * classes_ + c] = target;
        steps_[s * classes_ + c] = static_cast<std::uint8_t>(Step::shift);
      }
    call_begin_.push_back(calls_.size());
    for (const auto& [rule, back] : states.calls_of(s)) {
      const std::size_t behind = index(back);
      const bool tail = states.ends[behind] != 0 && states.bytes_of(behind).empty() && states.calls_of(behind).empty();
      const std::uint64_t key = detail::IntIndex::key(rule, back);
      places.insert(key, static_cast<std::int32_t>(calls_.size()));
      calls_.push_back({number[index(rule)], back, places.find(key), tail});
    }
  }
  call_begin_.push_back(calls_.size());
  ends_ = std::move(states.ends);
  return own;
}

// False where rules were shared and it takes too many states. Throws E322 where none is shared.
inline bool GrammarAutomaton::make_states(const GrammarSyntax& syntax, const detail::GrammarAnalysis& analysis,
                                          const Limits& limits, std::int64_t max_shared,
                                          detail::DeterministicStates& states, std::vector<std::int32_t>& number) {
  detail::NfaBuilder builder(syntax, analysis, limits, max_shared);
  std::vector<detail::NfaBuilder::Ends> ends;
  std::vector<std::int32_t> called{syntax.root};
  number.assign(syntax.rules.size(), -1);
  number[index(syntax.root)] = 0;
  rank_.clear();
  start_.clear();
  rule_of_.clear();
  states = {};
  for (std::size_t i = 0, seen = 0; i < called.size(); ++i) {
    ends.push_back(builder.build_rule(called[i]));
    rank_.push_back(analysis.rank(called[i]));
    for (; seen < builder.nfa().edges.size(); ++seen) {
      const detail::Nfa::Edge& edge = builder.nfa().edges[seen];
      if (edge.label != detail::Nfa::Label::call || number[index(edge.rule)] >= 0) continue;
      number[index(edge.rule)] = static_cast<std::int32_t>(called.size());
      called.push_back(edge.rule);
    }
  }
  find_classes(builder.nfa());
  constexpr std::int64_t max_table = std::int64_t{1} << 24, work_per_state = 200;
  const bool shared = builder.shared();
  const std::int64_t most = std::min(limits.grammar_states, max_table / static_cast<std::int64_t>(classes_));
  const std::int64_t max_states = shared ? most / 8 : most;
  detail::Determinizer determinizer(builder.nfa(), states, max_states, max_states * work_per_state);
  for (std::size_t r = 0; r < ends.size(); ++r) {
    start_.push_back(static_cast<std::int32_t>(states.size()));
    if (!determinizer.run(ends[r])) {
      if (shared) return false;
      throw Error(grammar_too_large,
                  {.file = syntax.file,
                   .where = detail::place_of(syntax.rules[index(called[r])]),
                   .expected = joined({"at most ", max_states, " states of deterministic automata (grammar_states)"}),
                   .got = "more",
                   .fix = "Use smaller repetitions; let alternatives differ near their beginning"});
    }
    rule_of_.resize(states.size(), static_cast<std::int32_t>(r));
  }
  return true;
}

// Classes are ranges of bytes: between two neighbouring borders no edge begins or ends.
inline void GrammarAutomaton::find_classes(const detail::Nfa& nfa) {
  std::array<bool, 257> border{};
  border[0] = true;
  for (const detail::Nfa::Edge& edge : nfa.edges)
    if (edge.label == detail::Nfa::Label::bytes) border[edge.bytes.low] = border[edge.bytes.high + 1u] = true;
  classes_ = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    classes_ += border[byte];
    class_of_[byte] = static_cast<std::uint8_t>(classes_ - 1);
  }
}

inline void GrammarAutomaton::save(ImageWriter& out) const {
  out.add(std::span<const std::uint8_t>(class_of_));
  out.add(next_);
  out.add(steps_);
  out.add(rule_of_);
  out.add(ends_);
  out.add(call_begin_);
  std::vector<std::int32_t> calls;
  for (const Call& call : calls_) calls.insert(calls.end(), {call.rule, call.back, call.place, call.tail});
  out.add(calls);
  out.add(start_);
  out.add(rank_);
  out.add(first_);
  out.add(follow_);
  out.add(std::uint64_t{deterministic_});
}

inline std::optional<GrammarAutomaton> GrammarAutomaton::load(ImageReader image) {
  GrammarAutomaton to;
  const auto class_of = image.list<std::uint8_t>();
  if (class_of.size() != to.class_of_.size()) return std::nullopt;
  std::copy(class_of.begin(), class_of.end(), to.class_of_.begin());
  to.classes_ = class_of.back() + std::size_t{1};
  to.next_ = image.copy<std::int32_t>();
  to.steps_ = image.copy<std::uint8_t>();
  to.rule_of_ = image.copy<std::int32_t>();
  to.ends_ = image.copy<std::uint8_t>();
  to.call_begin_ = image.copy<std::size_t>();
  const auto calls = image.list<std::int32_t>();
  for (std::size_t i = 0; i + 4 <= calls.size(); i += 4)
    to.calls_.push_back({calls[i], calls[i + 1], calls[i + 2], calls[i + 3] != 0});
  to.start_ = image.copy<std::int32_t>();
  to.rank_ = image.copy<std::int32_t>();
  to.first_ = image.copy<ByteSet>();
  to.follow_ = image.copy<ByteSet>();
  to.deterministic_ = image.number() != 0;
  if (!image.is_whole() || !to.is_sound()) return std::nullopt;
  return to;
}

// Everything that is looked up by something else lies where it can be found, and reading a byte ends: no rule begins
// with itself, and what is called for a byte reads it.
inline bool GrammarAutomaton::is_sound() const {
  const std::size_t n = rule_of_.size(), rules = start_.size();
  const auto below = [](std::int32_t i, std::size_t size) { return i >= 0 && std::cmp_less(i, size); };
  if (class_of_[0] != 0 || n == 0 || rules == 0 || next_.size() != n * classes_ || steps_.size() != next_.size() ||
      ends_.size() != n || call_begin_.size() != n + 1 || call_begin_[0] != 0 || call_begin_[n] != calls_.size() ||
      !std::is_sorted(call_begin_.begin(), call_begin_.end()) || rank_.size() != rules || first_.size() != rules ||
      follow_.size() != rules)
    return false;
  for (std::size_t byte = 1; byte < class_of_.size(); ++byte)
    if (const int up = class_of_[byte] - class_of_[byte - 1]; up < 0 || up > 1) return false;
  for (const Call& call : calls_)
    if (!below(call.rule, rules) || !below(call.back, n) || !below(call.place, calls_.size())) return false;
  for (const std::int32_t start : start_)
    if (!below(start, n)) return false;
  bool wrong = false;  // from here on without branches: what stands in a cell is not to be foreseen
  for (const std::int32_t rule : rule_of_) wrong |= !below(rule, rules);
  for (const std::int32_t to : next_) wrong |= static_cast<std::uint32_t>(to) + 1 > n;
  const std::vector<std::uint8_t> shifts(classes_, static_cast<std::uint8_t>(Step::shift));
  std::array<const std::uint8_t*, 256> then;  // [step]: the steps that are taken for the same byte behind it
  then.fill(shifts.data());
  for (std::size_t s = 0; s < n; ++s) {
    const std::uint8_t* row = steps_.data() + s * classes_;
    const std::int32_t* to = next_.data() + s * classes_;
    const std::size_t end = first_call + call_begin_[s + 1] - call_begin_[s];
    for (std::size_t i = first_call; i < std::min(end, then.size()); ++i)
      then[i] = steps_.data() + index(start(calls_[call_begin_[s] + i - first_call].rule)) * classes_;
    constexpr std::size_t together = 8;  // cells: most stand beside others that say `fail`, and those are sound
    for (std::size_t first = 0; first < classes_; first += together) {
      const std::size_t last = std::min(first + together, classes_);
      std::uint64_t some = 0;
      std::memcpy(&some, row + first, last - first);
      if (some == 0) continue;
      for (std::size_t c = first; c < last; ++c) {
        const std::uint8_t next = then[row[c]][c];
        wrong |= (row[c] >= end) | ((row[c] == static_cast<std::uint8_t>(Step::shift)) & (to[c] == dead)) |
                 (next == static_cast<std::uint8_t>(Step::fail)) | (next == static_cast<std::uint8_t>(Step::reduce));
      }
    }
  }
  if (wrong) return false;
  for (std::size_t r = 0; r < rules; ++r) {
    if (std::cmp_not_equal(rule_of_[index(start_[r])], r)) return false;
    const auto [begin, end] = calls(start_[r]);
    for (const Call* call = begin; call != end; ++call)
      if (rank_[r] >= rank_[index(call->rule)]) return false;
  }
  return true;
}

}  // namespace v0
}  // namespace expert
