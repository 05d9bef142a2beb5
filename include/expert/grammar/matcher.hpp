// TokenMasks -> GrammarMatcher: reads a text token by token, says which tokens may come next.
//
// The texts that may still come are a graph of stacks: a head for each automaton state that is alive, below it frames,
// each a state to go on in when the rule above ends. Frames of the same rule and state that are pushed before the same
// byte are one frame with several parents, so what is alive is bounded by the automaton, not by the number of
// derivations. A deterministic grammar has one head, each frame one parent: then a byte is a table lookup and at most
// some pushes and pops.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/grammar/token_masks.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode grammar_too_many_heads{335, "a text has more unfinished derivations than are followed"};
inline constexpr ErrorCode rollback_too_far{336, "more tokens are to be taken back than were accepted"};

// Copies are independent and share the memo. Everything that was accepted can be taken back, in any amount.
class GrammarMatcher {
 public:
  explicit GrammarMatcher(TokenMasks& masks, const Limits& limits = default_limits)
      : masks_(&masks), max_heads_(limits.grammar_heads) {
    reset();
  }

  // To the beginning of a text.
  void reset() {
    frames_.assign(1, {none, {}, true});
    links_.assign(1, bottom);
    heads_.assign(1, {automaton().start(0), {0, 1}});
    history_.clear();
    head_begin_ = 0;
    finished_ = false;
    accepts_empty_ = automaton().ends(automaton().start(0));
  }

  // A bit for each token (mask_words words), in the order of ids: set where the token may come next. End tokens are
  // set where the text is complete; after one of them nothing is. Valid until the next call of mask() on any matcher
  // of the same TokenMasks. Throws E335 where a grammar is more ambiguous than is followed, E334.
  std::span<const std::uint64_t> mask() {
    masks_->trim();
    steps_.clear();
    if (!finished_) find_steps();
    std::sort(steps_.begin(), steps_.end());
    steps_.erase(std::unique(steps_.begin(), steps_.end()), steps_.end());
    return masks_->mask(steps_, is_accepting());
  }

  // True, and the token is part of the text, where the grammar allows it; else nothing changes. Throws E335.
  bool accept(std::int32_t token) {
    if (vocabulary().is_end(token)) {
      if (!is_accepting()) return false;
      remember();
      finished_ = true;
      return true;
    }
    const std::string_view bytes = vocabulary().bytes(token);
    return !bytes.empty() && accept_text(bytes);
  }
  // The same for bytes that need be no token; taken back as one token.
  bool accept_text(std::string_view bytes) {
    if (finished_) return false;
    remember();
    for (const char c : bytes)
      if (!step(static_cast<std::uint8_t>(c))) {
        rollback(1);
        return false;
      }
    return true;
  }
  // Throws E336 where fewer tokens were accepted.
  void rollback(std::int64_t tokens) {
    if (tokens < 0 || std::cmp_greater(tokens, history_.size()))
      throw Error(rollback_too_far, {.file = {},
                                     .where = {},
                                     .expected = joined({"at most ", history_.size()}),
                                     .got = joined({tokens}),
                                     .fix = {}});
    if (tokens == 0) return;
    const Mark mark = history_[history_.size() - static_cast<std::size_t>(tokens)];
    history_.resize(history_.size() - static_cast<std::size_t>(tokens));
    frames_.resize(mark.frames);
    links_.resize(mark.links);
    heads_.resize(mark.heads);
    head_begin_ = mark.head_begin;
    finished_ = false;
  }

  std::int64_t accepted() const { return static_cast<std::int64_t>(history_.size()); }  // tokens
  // The text so far is a sentence of the grammar.
  bool is_accepting() const {
    if (finished_) return false;
    if (history_.empty()) return accepts_empty_;
    for (const Head& head : heads())
      if (automaton().ends(head.state) && may_end(head.parents)) return true;
    return false;
  }
  bool is_finished() const { return finished_; }  // an end token was accepted
  // How many automaton states are alive: 1 in every text of a deterministic grammar.
  std::int64_t live_heads() const { return static_cast<std::int64_t>(heads_.size() - head_begin_); }

  // The tokens that must come next: as long as just one is allowed, at most `limit`. Sampling could choose no other,
  // so they need no logits. The matcher is left as it was.
  std::vector<std::int32_t> forced_tokens(std::int64_t limit = 256) {
    std::vector<std::int32_t> tokens;
    while (std::cmp_less(tokens.size(), limit)) {
      const std::int32_t only = only_bit(mask());
      if (only < 0 || !accept(only)) break;
      tokens.push_back(only);
    }
    rollback(static_cast<std::int64_t>(tokens.size()));
    return tokens;
  }
  // The bytes that must come next, at most `limit`. Other tokens than those of their usual spelling may be allowed for
  // them: a draft for speculation, or for callers that encode the text anew.
  std::string forced_bytes(std::int64_t limit = 4096) {
    std::string bytes;
    while (std::cmp_less(bytes.size(), limit) && !is_accepting()) {
      const int only = only_byte();
      const char c = static_cast<char>(only);
      if (only < 0 || !accept_text({&c, 1})) break;
      bytes += c;
    }
    rollback(static_cast<std::int64_t>(bytes.size()));
    return bytes;
  }

 private:
  static constexpr std::int32_t none = -1;
  static constexpr std::uint32_t bottom = 0;  // the frame below every stack

  struct Parents {  // a range of links_
    std::uint32_t begin = 0, count = 0;
    friend bool operator==(Parents, Parents) = default;
  };
  struct Frame {
    std::int32_t state;
    Parents parents;
    bool may_end;  // the text may end when the rule above does
  };
  struct Head {
    std::int32_t state;
    Parents parents;
  };
  struct Mark {
    std::size_t frames, links, heads, head_begin;
  };
  // A state, call or rule of the step in work, and all that lies below it.
  struct Group {
    std::int32_t key;
    std::vector<std::uint32_t> parents;
  };
  class Groups {
   public:
    void clear() {
      size_ = 0;
      index_.clear();
      linked_.clear();
    }
    std::size_t size() const { return size_; }
    Group& operator[](std::size_t i) { return groups_[i]; }
    // Adds `parents` to the group of `key`, which is made where there is none. The group's number.
    std::size_t add(std::int32_t key, std::span<const std::uint32_t> parents) {
      const std::size_t i = at(key);
      for (const std::uint32_t frame : parents)
        if (linked_.insert(detail::IntIndex::key(static_cast<std::int32_t>(i), static_cast<std::int32_t>(frame)), 0))
          groups_[i].parents.push_back(frame);
      return i;
    }

   private:
    std::size_t at(std::int32_t key) {
      const std::uint64_t k = detail::IntIndex::key(key, 0);
      if (!index_.insert(k, static_cast<std::int32_t>(size_))) return static_cast<std::size_t>(index_.find(k));
      if (size_ == groups_.size()) groups_.emplace_back();
      groups_[size_].key = key;
      groups_[size_].parents.clear();
      return size_++;
    }

    std::vector<Group> groups_;  // the first size_ are in use
    std::size_t size_ = 0;
    detail::IntIndex index_, linked_;
  };

  const GrammarAutomaton& automaton() const { return masks_->automaton(); }
  const Vocabulary& vocabulary() const { return masks_->vocabulary(); }
  std::span<const Head> heads() const { return std::span(heads_).subspan(head_begin_); }
  std::span<const std::uint32_t> frames_of(Parents parents) const {
    return std::span(links_).subspan(parents.begin, parents.count);
  }
  bool may_end(Parents parents) const {
    for (const std::uint32_t frame : frames_of(parents))
      if (frames_[frame].may_end) return true;
    return false;
  }
  void remember() { history_.push_back({frames_.size(), links_.size(), heads_.size(), head_begin_}); }

  // From every head down, as far as tokens reach: each frame once for each thing that is left of the tokens there.
  void find_steps() {
    visited_.clear();
    open_.clear();
    for (const Head& head : heads()) step_down(TokenMasks::at_top, head.state, head.parents);
    while (!open_.empty()) {
      const auto [left, frame] = open_.back();
      open_.pop_back();
      step_down(left, frames_[frame].state, frames_[frame].parents);
    }
  }
  void step_down(std::int32_t left, std::int32_t state, Parents parents) {
    const std::int32_t step = masks_->step(left, state);
    steps_.push_back(step);
    const std::int32_t below = masks_->left_by(step);
    if (below == TokenMasks::none_left) return;
    for (const std::uint32_t frame : frames_of(parents))
      if (frame != bottom && visited_.insert(detail::IntIndex::key(below, static_cast<std::int32_t>(frame)), 0))
        open_.push_back({below, frame});
    if (std::cmp_greater(visited_.size(), max_heads_ * max_paths_per_head)) too_many();
  }
  [[noreturn]] void too_many() const {
    throw Error(grammar_too_many_heads, {.file = {},
                                         .where = {},
                                         .expected = joined({"at most ", max_heads_, " (grammar_heads)"}),
                                         .got = "more",
                                         .fix = "Make the grammar less ambiguous"});
  }

  // One byte. False, and the heads are undefined, where nothing is left.
  bool step(std::uint8_t byte) {
    if (heads_.size() - head_begin_ == 1) {
      Head head = heads_.back();
      switch (step_single(head, byte)) {
        case Single::done:
          head_begin_ = heads_.size();
          heads_.push_back(head);
          return true;
        case Single::failed:
          return false;
        case Single::several:
          items_.assign(1, head);
          return step_many(byte);
      }
    }
    items_.assign(heads().begin(), heads().end());
    return step_many(byte);
  }

  enum class Single : std::uint8_t { done, failed, several };
  // With one stack, as long as the byte decides what to do.
  Single step_single(Head& head, std::uint8_t byte) {
    for (;;) {
      const GrammarAutomaton::Action action = automaton().action(head.state, byte);
      switch (action.step) {
        case GrammarAutomaton::Step::fail:
          return Single::failed;
        case GrammarAutomaton::Step::several:
          return Single::several;
        case GrammarAutomaton::Step::shift:
          head.state = action.value;
          return Single::done;
        case GrammarAutomaton::Step::call: {
          const GrammarAutomaton::Call& call = automaton().call(action.value);
          if (!call.tail) head.parents = single_parent(push(call.back, head.parents));
          head.state = automaton().start(call.rule);
          break;
        }
        case GrammarAutomaton::Step::reduce: {
          if (head.parents.count != 1) return Single::several;
          const std::uint32_t frame = links_[head.parents.begin];
          if (frame == bottom) return Single::failed;
          head = {frames_[frame].state, frames_[frame].parents};
          break;
        }
      }
    }
  }
  std::uint32_t push(std::int32_t state, Parents parents) {
    frames_.push_back({state, parents, automaton().ends(state) && may_end(parents)});
    return static_cast<std::uint32_t>(frames_.size() - 1);
  }
  Parents single_parent(std::uint32_t frame) {
    links_.push_back(frame);
    return {static_cast<std::uint32_t>(links_.size() - 1), 1};
  }

  // With every stack at once: heads, then what is below them where their rules may end, then the rules that are
  // called, each once with all its callers: those that begin with others first.
  bool step_many(std::uint8_t byte) {
    shifted_.clear();
    called_.clear();
    pushed_.clear();
    visited_.clear();
    first_pushed_ = static_cast<std::uint32_t>(frames_.size());
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const Head item = items_[i];
      const auto parents = frames_of(item.parents);
      advance(item.state, parents, byte);
      if (!automaton().ends(item.state) || !automaton().follow(automaton().rule_of(item.state)).has(byte)) continue;
      for (const std::uint32_t frame : parents)
        if (frame != bottom && visited_.insert(frame, 0))
          items_.push_back({frames_[frame].state, frames_[frame].parents});
    }
    entered_.clear();
    while (entered_.size() < called_.size()) {
      const Group& group = called_[next_to_enter()];
      const std::int32_t rule = group.key;
      entered_.insert(detail::IntIndex::key(rule, 0), 0);
      entering_ = group.parents;  // advance() may move the groups
      advance(automaton().start(rule), entering_, byte);
    }
    if (std::cmp_greater(shifted_.size(), max_heads_)) too_many();
    commit();
    return shifted_.size() > 0;
  }

  // Of the called rules that were not entered, the one of the smallest rank: no other one can call it any more.
  std::size_t next_to_enter() {
    std::size_t next = called_.size();
    for (std::size_t i = 0; i < called_.size(); ++i) {
      if (entered_.find(detail::IntIndex::key(called_[i].key, 0)) >= 0) continue;
      if (next == called_.size() || automaton().rank(called_[i].key) < automaton().rank(called_[next].key)) next = i;
    }
    return next;
  }

  void advance(std::int32_t state, std::span<const std::uint32_t> parents, std::uint8_t byte) {
    if (const std::int32_t to = automaton().next(state, byte); to != GrammarAutomaton::dead) shifted_.add(to, parents);
    const auto [begin, end] = automaton().calls(state);
    for (const auto* call = begin; call != end; ++call) {
      if (!automaton().first(call->rule).has(byte)) continue;
      if (call->tail) {
        called_.add(call->rule, parents);
      } else {
        const auto frame = first_pushed_ + static_cast<std::uint32_t>(pushed_.add(call->place, parents));
        called_.add(call->rule, {&frame, 1});
      }
    }
  }
  // The step's frames and heads become the matcher's. A frame's parents among the new ones were pushed for rules of
  // smaller rank, so they are not always before it: what may end is settled in a second pass.
  void commit() {
    for (std::size_t i = 0; i < pushed_.size(); ++i)
      frames_.push_back({automaton().call(pushed_[i].key).back, store(pushed_[i].parents), false});
    for (bool changed = pushed_.size() > 0; changed;) {
      changed = false;
      for (std::size_t i = first_pushed_; i < frames_.size(); ++i) {
        Frame& frame = frames_[i];
        if (frame.may_end || !automaton().ends(frame.state) || !may_end(frame.parents)) continue;
        frame.may_end = changed = true;
      }
    }
    head_begin_ = heads_.size();
    for (std::size_t i = 0; i < shifted_.size(); ++i) heads_.push_back({shifted_[i].key, store(shifted_[i].parents)});
  }
  Parents store(const std::vector<std::uint32_t>& parents) {
    links_.insert(links_.end(), parents.begin(), parents.end());
    return {static_cast<std::uint32_t>(links_.size() - parents.size()), static_cast<std::uint32_t>(parents.size())};
  }

  static std::int32_t only_bit(std::span<const std::uint64_t> mask) {
    std::int32_t only = none;
    for (std::size_t w = 0; w < mask.size(); ++w) {
      if (mask[w] == 0) continue;
      if (only != none || !std::has_single_bit(mask[w])) return none;
      only = static_cast<std::int32_t>(64 * w) + std::countr_zero(mask[w]);
    }
    return only;
  }
  // The one byte that can come next, or none.
  int only_byte() {
    int only = none;
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      if (!accept_text({&c, 1})) continue;
      rollback(1);
      if (only != none) return none;
      only = byte;
    }
    return only;
  }

  static constexpr std::int64_t max_paths_per_head = 64;

  TokenMasks* masks_;
  std::int64_t max_heads_;
  std::vector<Frame> frames_;
  std::vector<std::uint32_t> links_;
  std::vector<Head> heads_;  // of every byte; those from head_begin_ on are alive
  std::size_t head_begin_ = 0;
  std::vector<Mark> history_;
  bool finished_ = false, accepts_empty_ = false;

  // What a step or a mask needs while it runs.
  std::vector<Head> items_;
  Groups shifted_, called_, pushed_;
  std::uint32_t first_pushed_ = 0;
  std::vector<std::uint32_t> entering_;
  detail::IntIndex visited_, entered_;
  std::vector<std::pair<std::int32_t, std::uint32_t>> open_;
  std::vector<std::int32_t> steps_;
};

}  // namespace v0
}  // namespace expert
