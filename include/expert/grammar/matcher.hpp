// TokenMasks -> GrammarMatcher: reads a text token by token, says which tokens may come next.
//
// The texts that may still come are a graph of stacks: a head for each automaton state that is alive, below it frames,
// each a state to go on in when the rule above ends. Frames of the same rule and state that are pushed before the same
// byte are one frame with several parents, so what is alive is bounded by the automaton, not by the number of
// derivations. Parents are lists that share their parts: a list names other lists and the frames that it adds to them.
// What contains another list is never taken apart to join the two, so of an ambiguous text too a byte costs about as
// much as there are frames. A deterministic grammar has one head, each frame one parent: then a byte is a table lookup
// and at most some pushes and pops.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
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
      : masks_(&masks),
        max_heads_(limits.grammar_heads),
        max_frames_(limits.grammar_frames),
        max_work_(limits.grammar_work) {
    reset();
  }

  // To the beginning of a text.
  void reset() {
    frames_.assign(1, {none, 0, true});
    lists_.assign(1, {0, 0, 1, true});
    links_.assign(1, bottom);
    heads_.assign(1, {automaton().start(0), 0});
    history_.clear();
    head_begin_ = 0;
    finished_ = false;
    accepts_empty_ = automaton().ends(automaton().start(0));
  }

  // A bit for each token (mask_words words), in the order of ids: set where the token may come next. End tokens are
  // set where the text is complete; after one of them nothing is. Valid until the next call of mask() on any matcher
  // of the same TokenMasks. Throws E335 where a grammar is more ambiguous than is followed, E334, E348.
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
    lists_.resize(mark.lists);
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
      if (automaton().ends(head.state) && list(head.parents).may_end) return true;
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
  // The fewest bytes that make the text complete; where several are as few, one of them.
  std::string shortest_end() {
    const ShortestEnds& ends = masks_->shortest_ends();
    std::string bytes;
    if (finished_ || is_accepting()) return bytes;
    below_.assign(lists_.size(), unknown);
    const Head* best = nullptr;
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (const Head& head : heads()) {
      const std::int64_t length = ends.bytes(head.state) + bytes_below(head.parents, ends);
      if (length < least) least = length, best = &head;
    }
    ends.append(best->state, bytes);
    for (std::uint32_t i = best->parents; i != all_read;) i = read_below(i, ends, bytes);
    return bytes;
  }

 private:
  static constexpr std::int32_t none = -1;
  static constexpr std::int64_t unknown = -1;
  static constexpr std::uint32_t all_read = 0xffff'ffff;
  static constexpr std::uint32_t bottom = 0;  // the frame below every stack

  // Frames: those of other lists, then some of its own; links_ from `begin` on. List 0 is the bottom alone.
  struct List {
    std::uint32_t begin, lists, frames;
    bool may_end;  // the text may end below one of its frames
  };
  struct Frame {
    std::int32_t state;
    std::uint32_t parents;  // a list
    bool may_end;           // the text may end when the rule above does
  };
  struct Head {
    std::int32_t state;
    std::uint32_t parents;
  };
  struct Mark {
    std::size_t frames, lists, links, heads, head_begin;
  };
  // A state, call or rule of the step in work, and all that lies below it.
  struct Group {
    std::int32_t key;
    std::vector<std::uint32_t> lists, frames;  // its parents
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
    // To the group of `key`, which is made where there is none: its number.
    std::size_t add_list(std::int32_t key, std::uint32_t list) {
      const std::size_t i = at(key);
      if (linked_.insert(link(2 * i, list), 0)) groups_[i].lists.push_back(list);
      return i;
    }
    void add_frame(std::int32_t key, std::uint32_t frame) {
      const std::size_t i = at(key);
      if (linked_.insert(link(2 * i + 1, frame), 0)) groups_[i].frames.push_back(frame);
    }

   private:
    static std::uint64_t link(std::size_t from, std::uint32_t to) {
      return detail::IntIndex::key(static_cast<std::int32_t>(from), static_cast<std::int32_t>(to));
    }
    std::size_t at(std::int32_t key) {
      const std::uint64_t k = detail::IntIndex::key(key, 0);
      if (!index_.insert(k, static_cast<std::int32_t>(size_))) return static_cast<std::size_t>(index_.find(k));
      if (size_ == groups_.size()) groups_.emplace_back();
      groups_[size_].key = key;
      groups_[size_].lists.clear();
      groups_[size_].frames.clear();
      return size_++;
    }

    std::vector<Group> groups_;  // the first size_ are in use
    std::size_t size_ = 0;
    detail::IntIndex index_, linked_;
  };

  const GrammarAutomaton& automaton() const { return masks_->automaton(); }
  const Vocabulary& vocabulary() const { return masks_->vocabulary(); }
  std::span<const Head> heads() const { return std::span(heads_).subspan(head_begin_); }
  const List& list(std::uint32_t i) const { return lists_[i]; }
  std::span<const std::uint32_t> lists_of(const List& list) const {
    return std::span(links_).subspan(list.begin, list.lists);
  }
  std::span<const std::uint32_t> frames_of(const List& list) const {
    return std::span(links_).subspan(list.begin + list.lists, list.frames);
  }
  void remember() { history_.push_back({frames_.size(), lists_.size(), links_.size(), heads_.size(), head_begin_}); }

  // From every head down, as far as tokens reach: each frame once for each thing that is left of the tokens there.
  void find_steps() {
    visited_.clear();
    open_.clear();
    for (const Head& head : heads()) step_down(TokenMasks::at_top, head.state, head.parents);
    while (!open_.empty()) {
      const auto [left, i] = open_.back();
      open_.pop_back();
      for (const std::uint32_t part : lists_of(list(i))) open_list(left, part);
      for (const std::uint32_t frame : frames_of(list(i)))
        if (frame != bottom && visited_.insert(detail::IntIndex::key(left, -1 - static_cast<std::int32_t>(frame)), 0))
          step_down(left, frames_[frame].state, frames_[frame].parents);
    }
  }
  void step_down(std::int32_t left, std::int32_t state, std::uint32_t parents) {
    const std::int32_t step = masks_->step(left, state);
    steps_.push_back(step);
    if (const std::int32_t below = masks_->left_by(step); below != TokenMasks::none_left) open_list(below, parents);
  }
  void open_list(std::int32_t left, std::uint32_t list) {
    if (!visited_.insert(detail::IntIndex::key(left, static_cast<std::int32_t>(list)), 0)) return;
    open_.push_back({left, list});
    if (std::cmp_greater(visited_.size(), max_work_)) too_many(max_work_, "grammar_work");
  }
  [[noreturn]] static void too_many(std::int64_t limit, const char* name) {
    throw Error(grammar_too_many_heads, {.file = {},
                                         .where = {},
                                         .expected = joined({"at most ", limit, " (", name, ")"}),
                                         .got = "more",
                                         .fix = "Make the grammar less ambiguous"});
  }
  void count_work(std::size_t work) {
    work_ += static_cast<std::int64_t>(work);
    if (work_ > max_work_) too_many(max_work_, "grammar_work");
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
          if (!call.tail) head.parents = push(call.back, head.parents);
          head.state = automaton().start(call.rule);
          break;
        }
        case GrammarAutomaton::Step::reduce: {
          const List& parents = list(head.parents);
          if (parents.lists != 0 || parents.frames != 1) return Single::several;
          const std::uint32_t frame = links_[parents.begin];
          if (frame == bottom) return Single::failed;
          head = {frames_[frame].state, frames_[frame].parents};
          break;
        }
      }
    }
  }
  // A list of one new frame.
  std::uint32_t push(std::int32_t state, std::uint32_t parents) {
    const bool may_end = automaton().ends(state) && list(parents).may_end;
    frames_.push_back({state, parents, may_end});
    links_.push_back(static_cast<std::uint32_t>(frames_.size() - 1));
    lists_.push_back({static_cast<std::uint32_t>(links_.size() - 1), 0, 1, may_end});
    return static_cast<std::uint32_t>(lists_.size() - 1);
  }

  // With every stack at once: heads, then what is below them where their rules may end, then the rules that are
  // called, each once with all its callers: those that begin with others first.
  bool step_many(std::uint8_t byte) {
    shifted_.clear();
    called_.clear();
    pushed_.clear();
    first_pushed_ = static_cast<std::uint32_t>(frames_.size());
    first_list_ = lists_.size();
    work_ = 0;
    if (std::cmp_greater(frames_.size() + lists_.size() + links_.size(), max_frames_))
      too_many(max_frames_, "grammar_frames");
    ++serial_;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const Head item = items_[i];
      advance(item.state, item.parents, byte);
      if (!automaton().ends(item.state) || !automaton().follow(automaton().rule_of(item.state)).has(byte)) continue;
      each_list(item.parents, [&](const List& reached) {
        for (const std::uint32_t frame : frames_of(reached))
          if (frame != bottom && is_first(frame_seen_, frame))
            items_.push_back({frames_[frame].state, frames_[frame].parents});
      });
    }
    entered_.clear();
    while (entered_.size() < called_.size()) {
      Group& group = called_[next_to_enter()];
      const std::int32_t rule = group.key;
      entered_.insert(detail::IntIndex::key(rule, 0), 0);
      advance(automaton().start(rule), settle(group), byte);
    }
    if (std::cmp_greater(shifted_.size(), max_heads_)) too_many(max_heads_, "grammar_heads");
    commit();
    return shifted_.size() > 0;
  }

  // True for the first of these calls with `i` since serial_ was counted up.
  bool is_first(std::vector<std::uint32_t>& seen, std::uint32_t i) {
    if (i >= seen.size()) seen.resize(2 * std::size_t{i} + 64);
    return std::exchange(seen[i], serial_) != serial_;
  }
  // f(list) for the list and all that it is made of, each once since serial_ was counted up.
  template <class F>
  void each_list(std::uint32_t root, F&& f) {
    if (is_first(list_seen_, root)) to_see_.push_back(root);
    while (!to_see_.empty()) {
      const List reached = list(to_see_.back());
      to_see_.pop_back();
      count_work(1 + reached.lists + reached.frames);
      f(reached);
      for (const std::uint32_t part : lists_of(reached))
        if (is_first(list_seen_, part)) to_see_.push_back(part);
    }
  }
  // One list for all parents of a group. Lists are made of older ones, so the youngest is looked at first, and what is
  // found in it need not be named again.
  std::uint32_t settle(Group& group) {
    if (group.frames.empty() && group.lists.size() == 1) return group.lists[0];
    const auto begin = static_cast<std::uint32_t>(links_.size());
    if (group.lists.size() == 1) links_.push_back(group.lists[0]);
    if (group.lists.size() > 1) {
      std::sort(group.lists.rbegin(), group.lists.rend());
      ++serial_;
      for (const std::uint32_t i : group.lists) {
        if (i < list_seen_.size() && list_seen_[i] == serial_) continue;
        links_.push_back(i);
        each_list(i, [](const List&) {});
      }
    }
    const auto lists = static_cast<std::uint32_t>(links_.size()) - begin;
    if (lists == 1 && group.frames.empty()) {
      links_.pop_back();
      return group.lists[0];
    }
    links_.insert(links_.end(), group.frames.begin(), group.frames.end());
    lists_.push_back({begin, lists, static_cast<std::uint32_t>(group.frames.size()), false});
    return static_cast<std::uint32_t>(lists_.size() - 1);
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

  void advance(std::int32_t state, std::uint32_t parents, std::uint8_t byte) {
    count_work(1);
    if (const std::int32_t to = automaton().next(state, byte); to != GrammarAutomaton::dead)
      shifted_.add_list(to, parents);
    const auto [begin, end] = automaton().calls(state);
    for (const auto* call = begin; call != end; ++call) {
      if (!automaton().first(call->rule).has(byte)) continue;
      if (call->tail)
        called_.add_list(call->rule, parents);
      else
        called_.add_frame(call->rule,
                          first_pushed_ + static_cast<std::uint32_t>(pushed_.add_list(call->place, parents)));
    }
  }
  // The step's frames and heads become the matcher's. A frame's parents among the new ones were pushed for rules of
  // smaller rank, so they are not always before it: what may end is settled last.
  void commit() {
    for (std::size_t i = 0; i < pushed_.size(); ++i)
      frames_.push_back({automaton().call(pushed_[i].key).back, settle(pushed_[i]), false});
    head_begin_ = heads_.size();
    for (std::size_t i = 0; i < shifted_.size(); ++i) heads_.push_back({shifted_[i].key, settle(shifted_[i])});
    const auto ends = [](auto& all, std::uint32_t i) { return all[i].may_end; };
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = first_list_; i < lists_.size(); ++i) {
        if (lists_[i].may_end) continue;
        for (const std::uint32_t part : lists_of(lists_[i])) lists_[i].may_end |= ends(lists_, part);
        for (const std::uint32_t frame : frames_of(lists_[i])) lists_[i].may_end |= ends(frames_, frame);
        changed |= lists_[i].may_end;
      }
      for (std::size_t i = first_pushed_; i < frames_.size(); ++i) {
        Frame& frame = frames_[i];
        if (frame.may_end || !automaton().ends(frame.state) || !list(frame.parents).may_end) continue;
        frame.may_end = changed = true;
      }
    }
  }

  // The fewest bytes from the end of the rule above a list to the end of the text.
  std::int64_t bytes_below(std::uint32_t root, const ShortestEnds& ends) {
    to_see_.assign(1, root);
    while (!to_see_.empty()) {
      const std::uint32_t i = to_see_.back();
      std::int64_t best = std::numeric_limits<std::int64_t>::max();
      bool known = true;
      const auto add = [&](std::uint32_t other, std::int64_t bytes) {
        if (below_[other] == unknown) {
          known = false;
          to_see_.push_back(other);
        } else {
          best = std::min(best, bytes + below_[other]);
        }
      };
      if (below_[i] == unknown) {
        for (const std::uint32_t part : lists_of(list(i))) add(part, 0);
        for (const std::uint32_t frame : frames_of(list(i)))
          frame == bottom ? void(best = 0) : add(frames_[frame].parents, ends.bytes(frames_[frame].state));
        if (!known) continue;
        below_[i] = best;
      }
      to_see_.pop_back();
    }
    return below_[root];
  }
  // Adds the bytes of one frame on the shortest way and returns the list below it, all_read at the bottom.
  std::uint32_t read_below(std::uint32_t i, const ShortestEnds& ends, std::string& bytes) const {
    for (const std::uint32_t part : lists_of(list(i)))
      if (below_[part] == below_[i]) return part;
    for (const std::uint32_t frame : frames_of(list(i))) {
      if (frame == bottom) return all_read;
      const Frame& next = frames_[frame];
      if (ends.bytes(next.state) + below_[next.parents] != below_[i]) continue;
      ends.append(next.state, bytes);
      return next.parents;
    }
    return all_read;
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

  TokenMasks* masks_;
  std::int64_t max_heads_, max_frames_, max_work_;
  std::vector<Frame> frames_;
  std::vector<List> lists_;
  std::vector<std::uint32_t> links_;
  std::vector<Head> heads_;  // of every byte; those from head_begin_ on are alive
  std::size_t head_begin_ = 0;
  std::vector<Mark> history_;
  bool finished_ = false, accepts_empty_ = false;

  // What a step or a mask needs while it runs.
  std::vector<Head> items_;
  Groups shifted_, called_, pushed_;
  std::uint32_t first_pushed_ = 0, serial_ = 0;
  std::size_t first_list_ = 0;
  std::int64_t work_ = 0;
  std::vector<std::uint32_t> frame_seen_, list_seen_, to_see_;  // the serial_ at which each was seen last
  detail::IntIndex visited_, entered_;
  std::vector<std::pair<std::int32_t, std::uint32_t>> open_;
  std::vector<std::int32_t> steps_;
  std::vector<std::int64_t> below_;  // of each list: bytes_below
};

}  // namespace v0
}  // namespace expert
