// GrammarAutomaton -> from each of its states the fewest bytes that end the rule, and which bytes those are.
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "expert/grammar/automaton.hpp"

namespace expert {
inline namespace v0 {

// Immutable once made. The automaton must outlive it.
class ShortestEnds {
 public:
  explicit ShortestEnds(const GrammarAutomaton& automaton)
      : automaton_(automaton), bytes_(index(automaton.states()), unknown), calls_(index(automaton.states()), nullptr) {
    for (bool changed = true; changed;) {  // from the last state: rules are numbered from their beginnings
      changed = false;
      for (std::int32_t state = automaton.states(); state-- > 0;) changed |= relax(state);
    }
  }

  // To the end of the state's rule.
  std::int64_t bytes(std::int32_t state) const { return bytes_[index(state)]; }
  // Adds them to `out`. Where several are as short, letters and digits come before signs.
  void append(std::int32_t state, std::string& out) const {
    std::vector<std::int32_t> open{state};
    while (!open.empty()) {
      const std::int32_t here = open.back();
      if (bytes(here) == 0) {
        open.pop_back();
      } else if (const GrammarAutomaton::Call* call = calls_[index(here)]) {
        open.back() = call->back;
        open.push_back(automaton_.start(call->rule));
      } else {
        const std::uint8_t byte = best_byte(here);
        out += static_cast<char>(byte);
        open.back() = automaton_.next(here, byte);
      }
    }
  }

 private:
  static constexpr std::int64_t unknown = std::numeric_limits<std::int32_t>::max();
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

  // A call is noted only where it makes a state's end nearer, so what is followed never turns in a circle.
  bool relax(std::int32_t state) {
    std::int64_t& best = bytes_[index(state)];
    const std::int64_t before = best;
    if (automaton_.ends(state)) best = 0;
    for (unsigned byte = 0; byte < 256 && best > 1; ++byte) {
      const std::int32_t to = automaton_.next(state, static_cast<std::uint8_t>(byte));
      if (to == GrammarAutomaton::dead || bytes(to) + 1 >= best) continue;
      best = bytes(to) + 1;
      calls_[index(state)] = nullptr;
    }
    const auto [begin, end] = automaton_.calls(state);
    for (const auto* call = begin; call != end; ++call) {
      const std::int64_t through = bytes(automaton_.start(call->rule)) + bytes(call->back);
      if (through >= best) continue;
      best = through;
      calls_[index(state)] = call;
    }
    return best != before;
  }
  std::uint8_t best_byte(std::int32_t state) const {
    int found = -1, rank = 4;
    for (int byte = 0; byte < 256; ++byte) {
      const std::int32_t to = automaton_.next(state, static_cast<std::uint8_t>(byte));
      if (to == GrammarAutomaton::dead || bytes(to) + 1 != bytes(state)) continue;
      const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'),
                 digit = byte >= '0' && byte <= '9';
      const int here = letter ? 0 : digit ? 1 : byte >= ' ' && byte <= '~' ? 2 : 3;
      if (here < rank) rank = here, found = byte;
    }
    return static_cast<std::uint8_t>(found);
  }

  const GrammarAutomaton& automaton_;
  std::vector<std::int64_t> bytes_;
  std::vector<const GrammarAutomaton::Call*> calls_;  // the call that the shortest way begins with, or null
};

}  // namespace v0
}  // namespace expert
