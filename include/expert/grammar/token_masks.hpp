// TokenSets along the stacks of a text -> the mask of the tokens that may come next; every mask is made once.
#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "expert/core/limits.hpp"
#include "expert/cpu/isa.hpp"
#include "expert/grammar/automaton.hpp"
#include "expert/grammar/int_index.hpp"
#include "expert/grammar/mask_kernels.hpp"
#include "expert/grammar/shortest_ends.hpp"
#include "expert/grammar/token_sets.hpp"
#include "expert/grammar/vocabulary.hpp"

namespace expert {
inline namespace v0 {

// The memo of one grammar with one vocabulary: made once, used by any number of matchers one after the other. It
// grows while it is used, so it serves one thread at a time. Grammar and vocabulary must outlive it.
class TokenMasks {
 public:
  TokenMasks(const GrammarAutomaton& automaton, const Vocabulary& vocabulary, Isa isa = best_isa(),
             const Limits& limits = default_limits)
      : automaton_(automaton),
        vocabulary_(vocabulary),
        isa_(isa),
        sets_(automaton, vocabulary, isa, limits.grammar_mask_work) {
    clear();
  }

  const GrammarAutomaton& automaton() const { return automaton_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  // Made when it is asked for first.
  const ShortestEnds& shortest_ends() {
    if (!shortest_ends_) shortest_ends_.emplace(automaton_);
    return *shortest_ends_;
  }

  // Forgets everything that was computed.
  void clear() {
    hide();
    sets_.clear();
    left_.clear();
    left_index_.clear();
    number_of({false, 0});  // none_left
    number_of({true, 0});   // at_top
    known_steps_.clear();
    steps_.assign(1, {});
    step_index_.clear();
    unions_.clear();
    masks_.assign(1, {});
    bytes_ = 0;
  }
  // Called between masks: keeps the memo below a bound, and counts the work of the next one anew.
  void trim() {
    sets_.begin_mask();
    if (sets_.bytes() + bytes_ + step_index_.size() * 64 > max_bytes) clear();
  }

  // On the way down a stack: `none_left` where no token reaches further, `at_top` where all of every token is left,
  // else which parts of which tokens are left is a number above these.
  static constexpr std::int32_t none_left = 0, at_top = 1;
  // What a state of the stack adds to the mask when `left` has come down to it, and what it leaves to the state below.
  struct Step {
    std::int32_t root_set = -1, list_set = -1;
    std::int32_t left = none_left;
  };
  // The number of that step.
  std::int32_t step(std::int32_t left, std::int32_t state) {
    const std::uint64_t key = detail::IntIndex::key(left, state);
    if (const std::int32_t known = step_index_.find(key); known >= 0) return known;
    const Left from = left_[static_cast<std::size_t>(left)];
    Step made;
    std::int32_t ends = 0;
    if (from.all) {
      made.root_set = sets_.within_node(Vocabulary::root, state);
      ends = sets_.result(made.root_set).ends;
    }
    if (from.ends != 0) {
      made.list_set = sets_.within_list(from.ends, state);
      ends = join_lists(ends, sets_.result(made.list_set).ends);
    }
    made.left = number_of({from.all && automaton_.ends(state), ends});
    const std::int32_t number = known_steps_.intern({made.root_set, made.list_set, made.left});
    if (std::cmp_equal(number, steps_.size())) steps_.push_back(made);
    step_index_.insert(key, number);
    return number;
  }
  std::int32_t left_by(std::int32_t step) const { return steps_[static_cast<std::size_t>(step)].left; }

  // The tokens of these steps (sorted, each once), with the end tokens where `accepting`. Valid until the next call or
  // the memo is cleared.
  std::span<const std::uint64_t> mask(std::vector<std::int32_t>& steps, bool accepting) {
    steps.push_back(accepting);
    const std::int32_t list = unions_.intern(steps);
    steps.pop_back();
    if (std::cmp_equal(list, masks_.size())) masks_.push_back(made(steps, accepting));
    const Mask& mask = masks_[static_cast<std::size_t>(list)];
    if (!mask.words.empty()) return mask.words;
    if (list != shown_list_) show(list, mask.ids);
    return shown_;
  }

 private:
  static constexpr std::size_t max_bytes = std::size_t{128} << 20;
  static constexpr std::int32_t no_list = -1;
  static constexpr std::size_t few_tokens = 128;  // more take longer to show than bits of their own to make

  std::size_t mask_words() const { return vocabulary_.mask_words(); }

  struct Left {
    bool all = false;       // whole tokens: the states above may end without reading anything
    std::int32_t ends = 0;  // the nodes behind which the rest of a token is left
  };
  std::int32_t number_of(Left left) {
    const std::uint64_t key = detail::IntIndex::key(left.all, left.ends);
    if (left_index_.insert(key, static_cast<std::int32_t>(left_.size()))) left_.push_back(left);
    return left_index_.find(key);
  }

  std::int32_t join_lists(std::int32_t a, std::int32_t b) {
    if (a == 0 || a == b) return b;
    if (b == 0) return a;
    const auto &x = sets_.lists()[a], &y = sets_.lists()[b];
    std::vector<std::int32_t> both(x.size() + y.size());
    both.erase(std::set_union(x.begin(), x.end(), y.begin(), y.end(), both.begin()), both.end());
    return sets_.lists().intern(both);
  }

  // The tokens of a mask, as a bit for each or, where they are few, themselves.
  struct Mask {
    std::vector<std::uint64_t> words = {};
    std::vector<std::int32_t> ids = {};
  };
  Mask made(const std::vector<std::int32_t>& steps, bool accepting) {
    Mask mask;
    added_.clear();
    for (const std::int32_t i : steps) {
      const Step& step = steps_[static_cast<std::size_t>(i)];
      for (const std::int32_t set : {step.root_set, step.list_set})
        if (set >= 0 && added_.insert(detail::IntIndex::key(set, 0), 0)) add(mask, sets_.result(set));
    }
    if (accepting) mask.ids.insert(mask.ids.end(), vocabulary_.end_tokens().begin(), vocabulary_.end_tokens().end());
    if (mask.words.empty() && mask.ids.size() > few_tokens) mask.words.resize(mask_words());
    if (!mask.words.empty())
      for (const std::int32_t id : std::exchange(mask.ids, {})) set_bit(mask.words, id);
    bytes_ += sizeof(Mask) + 8 * mask.words.size() + 4 * mask.ids.size();
    return mask;
  }
  void add(Mask& mask, const detail::TokenSets::Result& result) const {
    if (!result.words.empty() && mask.words.empty())
      mask.words = result.words;
    else if (!result.words.empty())
      with_mask_kernels(isa_, [&](auto kernels) {
        decltype(kernels)::join(mask.words.data(), result.words.data(), mask.words.size());
      });
    mask.ids.insert(mask.ids.end(), result.ids.begin(), result.ids.end());
  }
  // One bitset is enough for all masks of few tokens: those of the last one are taken out again.
  void show(std::int32_t list, const std::vector<std::int32_t>& ids) {
    shown_.resize(mask_words());
    hide();
    for (const std::int32_t id : ids) set_bit(shown_, id);
    shown_list_ = list;
  }
  void hide() {
    if (shown_list_ != no_list)
      for (const std::int32_t id : masks_[static_cast<std::size_t>(shown_list_)].ids)
        shown_[static_cast<std::size_t>(id) / 64] = 0;
    shown_list_ = no_list;
  }
  static void set_bit(std::vector<std::uint64_t>& words, std::int32_t id) {
    words[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << (id % 64);
  }

  const GrammarAutomaton& automaton_;
  std::optional<ShortestEnds> shortest_ends_;
  const Vocabulary& vocabulary_;
  Isa isa_;
  detail::TokenSets sets_;
  std::vector<Left> left_;
  std::vector<Step> steps_;
  detail::IntIndex left_index_, step_index_;
  detail::ListTable known_steps_;     // their numbers; list 0 is empty and no step's
  detail::ListTable unions_;          // of steps, with the accepting flag behind them
  std::deque<Mask> masks_;            // of each list; list 0, the empty one, is never asked for
  std::size_t bytes_ = 0;             // of masks_
  std::vector<std::uint64_t> shown_;  // the tokens of the list that mask() gave last, where they are few
  std::int32_t shown_list_ = no_list;
  detail::IntIndex added_;
};

}  // namespace v0
}  // namespace expert
