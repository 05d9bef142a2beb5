// GrammarAutomaton + Vocabulary -> for each automaton state the tokens that it accepts, computed when first asked for.
//
// A token's bytes take a state through its rule; where the rule ends within the token, the rest belongs to the state
// below on the stack. So the tokens of a stack are a union along it:
//   tokens(s0, s1, ...) = within(root, s0) + within(ends(s0), s1) + within(ends(s0, s1), s2) + ...
// within(nodes, s): tokens below trie nodes whose rest s consumes without leaving its rule; ends(...): trie nodes at
// which the rule is complete before the token is. Both depend on states alone, so they are computed once. A node is
// kept as an end only where some byte below it can follow the rule at all, which keeps most lists short.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/text_index.hpp"
#include "expert/cpu/isa.hpp"
#include "expert/grammar/automaton.hpp"
#include "expert/grammar/character_classes.hpp"
#include "expert/grammar/int_index.hpp"
#include "expert/grammar/mask_kernels.hpp"
#include "expert/grammar/vocabulary.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode token_nests_too_deep{334, "a token opens more rules of a grammar than are followed"};
inline constexpr ErrorCode mask_too_costly{348, "finding the tokens that may come next takes too much work"};

namespace detail {

// Lists of numbers, equal lists stored once; 0 is the empty one.
class ListTable {
 public:
  ListTable() { clear(); }
  void clear() {
    index_.clear();
    lists_.clear();
    intern({});
  }
  std::int32_t intern(const std::vector<std::int32_t>& list) {
    const std::string_view key(reinterpret_cast<const char*>(list.data()), list.size() * sizeof(std::int32_t));
    const auto next = static_cast<std::int32_t>(lists_.size());
    if (!index_.insert(key, next)) return index_.find(key);
    lists_.push_back(list);
    return next;
  }
  const std::vector<std::int32_t>& operator[](std::int32_t i) const { return lists_[static_cast<std::size_t>(i)]; }
  std::size_t size() const { return lists_.size(); }

 private:
  TextIndex index_;
  std::deque<std::vector<std::int32_t>> lists_;  // a list stays where it is
};

class TokenSets {
 public:
  // What a state does with tokens from some trie nodes on.
  struct Result {
    std::vector<std::uint64_t> words;  // (mask_words) of the tokens, or
    std::vector<std::int32_t> ids;     // the tokens themselves where they are few
    std::int32_t ends = 0;             // list of nodes at which the state's rule is complete
    friend bool operator==(const Result&, const Result&) = default;
  };

  TokenSets(const GrammarAutomaton& automaton, const Vocabulary& vocabulary, Isa isa, std::int64_t max_work)
      : automaton_(automaton), classes_(automaton), vocabulary_(vocabulary), isa_(isa), max_work_(max_work) {
    profiles_.resize(static_cast<std::size_t>(automaton.states()));
    for (std::int32_t rule = 0; rule < automaton.rules(); ++rule) {
      first_kinds_.push_back(CharacterClasses::kinds_of(automaton.first(rule)));
      follow_kinds_.push_back(CharacterClasses::kinds_of(automaton.follow(rule)));
    }
  }
  TokenSets(const TokenSets&) = delete;
  TokenSets& operator=(const TokenSets&) = delete;

  // From one node; the state may have called rules, but none has been left. The result's number.
  std::int32_t within_node(std::int32_t node, std::int32_t state) {
    const std::uint64_t key = IntIndex::key(node, state);
    if (const std::int32_t known = by_node_.find(key); known >= 0) return known;
    Work& work = open_work();
    visit(work, node, state, {});
    const std::int32_t made = close_work();
    by_node_.insert(key, made);
    return made;
  }
  // From every node of a list, where a rule above has just ended.
  std::int32_t within_list(std::int32_t list, std::int32_t state) {
    const std::uint64_t key = IntIndex::key(list, state);
    if (const std::int32_t known = by_list_.find(key); known >= 0) return known;
    Work& work = open_work();
    for (const std::int32_t node : lists_[list]) arrive(work, node, state, {});
    const std::int32_t made = close_work();
    by_list_.insert(key, made);
    return made;
  }
  // A new mask begins: max_work visits of a node are allowed for it, then there is E348.
  void begin_mask() { work_ = 0; }
  const Result& result(std::int32_t i) const { return results_[static_cast<std::size_t>(i)]; }
  ListTable& lists() { return lists_; }
  std::size_t bytes() const { return bytes_; }
  void clear() {
    by_node_.clear();
    by_list_.clear();
    by_content_.clear();
    results_.clear();
    text_masks_.clear();
    lists_.clear();
    bytes_ = 0;
  }

 private:
  static constexpr std::int32_t none = -1;
  static constexpr std::size_t max_depth = 4096, few_tokens = 1024;
  static constexpr std::size_t unlimited = Vocabulary::max_token_bytes;  // as long as any token
  // Texts of letters are worth a pass over the whole vocabulary.
  static constexpr CharacterKinds worth_a_pass = kind_of_ascii('z') | kind_of_ascii('Z') | beyond_ascii;

  // What a state does with a character of each kind. `rest`, `first` and `run`: a text that begins with one of `first`
  // and goes on with `rest`, `run` characters in all, is alive in every part. So it is for an identifier, also where
  // its beginning may still become a keyword, and for a string of bounded length. All tokens of such texts are found in
  // one pass over the vocabulary.
  struct Profile {
    CharacterKinds loop = 0;   // whole kinds of characters that lead from the state back to itself
    CharacterKinds next = 0;   // all kinds that can come next: edges, calls, what follows the rule
    CharacterKinds stack = 0;  // those of the rules it calls and of what follows its own
    CharacterKinds exit = 0;   // those that are not in `loop`, or that can also leave it
    CharacterKinds link = 0;   // whole kinds that lead where a letter does
    CharacterKinds first = 0, rest = 0;
    CharacterKinds rest_exit = 0;  // kinds that go elsewhere, from here on
    std::int32_t home = none;      // the state that the text ends up in, where it may be of any length
    std::size_t run = 0;
    bool known = false, rest_known = false;
    bool goes_on = false;  // the text may be longer than `run` says
  };
  struct Work {  // a result in the making
    std::vector<std::int32_t> ids, ends;
    std::vector<const std::uint64_t*> words;
    IntIndex arrived;
  };
  struct TextMask {
    CharacterKinds rest, first;
    std::size_t run;
    std::int32_t node;
    std::vector<std::uint64_t> words;
  };

  Profile& profile(std::int32_t state) {
    Profile& profile = profiles_[static_cast<std::size_t>(state)];
    if (!profile.known) fill(profile, state);
    return profile;
  }
  void fill(Profile& profile, std::int32_t state) const {
    const auto row = automaton_.row(state);
    const std::int32_t to = letter_leads(state);
    std::uint32_t kinds[4];
    with_mask_kernels(isa_, [&](auto kernels) {
      decltype(kernels)::split(kinds, row.data(), classes_.kinds().data(), row.size(), state, to);
    });
    const auto [back, on, elsewhere, nowhere] = kinds;  // have a byte that leads there
    CharacterKinds loops = 0, others = 0;               // have an ASCII byte that leads back, that does not
    if (back != 0)
      for (const std::uint8_t byte : classes_.ascii())
        (automaton_.next(state, byte) == state ? loops : others) |= ascii_kinds[byte];
    profile.loop = loops & ~others;
    profile.link = (to == state ? back : on & ~back) & ~(elsewhere | nowhere);
    const auto [begin, end] = automaton_.calls(state);
    for (const auto* call = begin; call != end; ++call)
      profile.stack |= first_kinds_[static_cast<std::size_t>(call->rule)];
    if (automaton_.ends(state)) profile.stack |= follow_kinds_[static_cast<std::size_t>(automaton_.rule_of(state))];
    profile.exit = on | elsewhere | (loops & others) | profile.stack;
    if (((on | elsewhere) & beyond_ascii) && classes_.every_character_leads(state, state)) {
      profile.loop |= beyond_ascii;
      profile.exit = (profile.exit & ~beyond_ascii) | (profile.stack & beyond_ascii);
    }
    // Within a character the rest of it comes: in a token that is the ill-formed beginning, or well-formed behind more.
    if (profile.exit & ill_formed) profile.exit |= beyond_ascii;
    profile.next = profile.loop | profile.exit;
    profile.known = true;
  }

  // Fills first, rest, rest_exit, run and home.
  const Profile& with_rest(std::int32_t state) {
    Profile& here = profile(state);
    if (here.rest_known) return here;
    here.rest_known = true;
    const std::int32_t home = (here.loop & worth_a_pass) ? state : find_loop(state);
    if (home == none || !find_way_home(here, state, home)) find_chain(state);
    return here;
  }
  bool find_way_home(Profile& here, std::int32_t state, std::int32_t home) {
    if (home != state) with_rest(home);
    const CharacterKinds loop = profile(home).loop;
    CharacterKinds others = 0, exit = here.stack | (here.next & ~loop);
    for (const std::uint8_t byte : classes_.ascii()) {
      if (!(loop & ascii_kinds[byte])) continue;
      const std::int32_t to = automaton_.next(state, byte);
      if (leads_home(to, home))
        exit |= to == home ? profile(home).exit : profile(to).rest_exit;
      else
        others |= ascii_kinds[byte];
    }
    if ((loop & beyond_ascii) && !classes_.every_character_leads(state, home)) others |= beyond_ascii;
    if (loop & ~others & beyond_ascii) exit |= profile(home).exit;
    if ((loop & ~others & worth_a_pass) == 0) return false;
    here.home = home;
    here.first = loop & ~others;
    here.rest = loop;
    here.rest_exit = exit;
    here.run = unlimited;
    return true;
  }
  // A row of states, each of which goes to the next one by the same kinds: a bounded repetition. It is followed no
  // further than a token reaches, and a little more, so that who comes from the next state need not do it again.
  void find_chain(std::int32_t state) {
    const CharacterKinds kinds = link(state).first;
    if ((kinds & worth_a_pass) == 0) return;
    constexpr std::size_t more = 8;
    const std::size_t far = longest_token() + more;
    std::vector<std::int32_t> row;
    std::int32_t at = state;
    const auto is_member = [&] {
      const Profile& here = profile(at);
      return here.run > 0 && here.first == kinds && here.rest == kinds;
    };
    const auto away = [&](const Profile& from) { return from.stack | (from.next & ~kinds); };
    while (row.size() < far) {
      const bool was_member = is_member();
      if (was_member ? !profile(at).goes_on : profile(at).rest_known && at != state) break;
      const Link next = was_member ? Link{kinds, letter_leads(at)} : link(at);
      if (next.first != kinds) break;
      Profile& here = profile(at);
      here.rest_known = here.goes_on = true;
      here.first = here.rest = kinds;
      here.run = std::max<std::size_t>(here.run, 1);
      row.push_back(at);
      at = next.second;
      if (profile(at).loop & worth_a_pass) with_rest(at);
    }
    const Profile behind = profile(at);
    const bool goes_on = is_member() ? behind.goes_on : row.size() == far;
    std::size_t run = is_member() ? behind.run : 0;
    // Behind the row all that comes is of interest, if a token reaches it.
    CharacterKinds exit = is_member() ? behind.rest_exit | away(behind) : goes_on ? 0 : behind.next;
    for (std::size_t i = row.size(); i-- > 0;) {
      Profile& here = profile(row[i]);
      exit |= away(here);
      run = std::min(run + 1, unlimited);
      here.rest_exit = exit;
      here.run = run;
      here.goes_on = goes_on;
    }
  }
  // Of a text that a token may begin with: `run` is as many characters as any token has, or all there are.
  const Profile& with_all_rest(std::int32_t state) {
    const Profile& here = with_rest(state);
    if (here.goes_on && !is_endless(here.run)) find_chain(state);
    return here;
  }
  bool is_endless(std::size_t run) { return run == unlimited || run >= longest_token(); }
  std::size_t longest_token() {  // in characters
    while (!vocabulary_.longer_than(longest_token_).empty()) ++longest_token_;
    return longest_token_;
  }
  std::int32_t letter_leads(std::int32_t state) const {
    const std::int32_t to = automaton_.next(state, 'z');
    return to == GrammarAutomaton::dead ? automaton_.next(state, 'Q') : to;
  }
  // Kinds all of whose characters lead to one other state, and that state.
  using Link = std::pair<CharacterKinds, std::int32_t>;
  Link link(std::int32_t state) {
    const std::int32_t to = letter_leads(state);
    if (to == GrammarAutomaton::dead) return {0, to};
    CharacterKinds kinds = profile(state).link & ~(beyond_ascii | ill_formed);
    if (classes_.every_character_leads(state, to)) kinds |= beyond_ascii;
    return {kinds, to};
  }
  // The state in which a run of some letter ends up, if it is worth a pass.
  std::int32_t find_loop(std::int32_t state) {
    for (const std::uint8_t letter : {std::uint8_t{'z'}, std::uint8_t{'Q'}}) {
      std::int32_t to = automaton_.next(state, letter);
      for (int i = 0; i < 32 && to != GrammarAutomaton::dead; ++i) {
        const std::int32_t next = automaton_.next(to, letter);
        if (next == to && (profile(to).loop & worth_a_pass)) return to;
        if (next == to) break;
        to = next;
      }
    }
    return none;
  }
  // Every text of the loop's kinds leads from `state` to `home`. Fills the profiles of the states between.
  bool leads_home(std::int32_t state, std::int32_t home) {
    if (state == GrammarAutomaton::dead) return false;
    const CharacterKinds loop = profile(home).loop;
    const auto is_home = [&](std::int32_t s) {
      const Profile& p = profiles_[static_cast<std::size_t>(s)];
      return s == home || (p.home == home && p.first == loop);
    };
    if (is_home(state)) return true;
    constexpr std::size_t max_between = 512;
    std::vector<std::int32_t> between{state};
    seen_.resize(profiles_.size());
    ++serial_;
    seen_[static_cast<std::size_t>(state)] = serial_;
    CharacterKinds exit = profile(home).exit;
    for (std::size_t i = 0; i < between.size(); ++i) {
      const Profile& here = profile(between[i]);
      exit |= here.stack | (here.next & ~loop);
      if ((loop & beyond_ascii) && !classes_.every_character_leads(between[i], home)) return false;
      const auto row = automaton_.row(between[i]);
      std::array<std::uint64_t, 4> others{};  // classes of the loop's ASCII bytes that do not lead home at once
      with_mask_kernels(isa_, [&](auto kernels) {
        decltype(kernels)::elsewhere(others.data(), row.data(), classes_.kinds().data(), row.size(), home,
                                     loop & ~(beyond_ascii | ill_formed));
      });
      for (std::size_t w = 0; w < others.size(); ++w)
        for (std::uint64_t bits = others[w]; bits != 0; bits &= bits - 1) {
          const std::int32_t to = row[64 * w + static_cast<std::size_t>(std::countr_zero(bits))];
          if (to == GrammarAutomaton::dead || between.size() > max_between) return false;
          if (is_home(to))
            exit |= profile(to).rest_exit;
          else if (std::exchange(seen_[static_cast<std::size_t>(to)], serial_) != serial_)
            between.push_back(to);
        }
    }
    for (const std::int32_t s : between) {
      Profile& p = profiles_[static_cast<std::size_t>(s)];
      p.home = home;
      p.first = p.rest = loop;
      p.rest_exit = exit;
      p.run = unlimited;
      p.rest_known = true;
    }
    return true;
  }

  // What is in the making is given up; what was made stays sound.
  [[noreturn]] void give_up(ErrorCode code, std::string expected, const char* fix) {
    depth_ = 0;
    throw Error(code, {.file = {}, .where = {}, .expected = std::move(expected), .got = "more", .fix = fix});
  }
  Work& open_work() {
    if (depth_ == max_depth)
      give_up(token_nests_too_deep, joined({"at most ", max_depth, " rules open within a token"}),
              "Let rules read something before they call the next one");
    if (depth_ == works_.size()) works_.emplace_back();
    Work& work = works_[depth_++];
    work.ids.clear();
    work.ends.clear();
    work.words.clear();
    work.arrived.clear();
    return work;
  }
  std::int32_t close_work() {
    Work& work = works_[--depth_];
    Result result;
    if (work.words.empty() && work.ids.size() <= few_tokens) {
      result.ids = work.ids;
    } else {
      result.words.assign(vocabulary_.mask_words(), 0);
      for (const std::uint64_t* words : work.words) join(result.words, words);
      for (const std::int32_t id : work.ids) set_bit(result.words, id);
    }
    std::sort(work.ends.begin(), work.ends.end());
    work.ends.erase(std::unique(work.ends.begin(), work.ends.end()), work.ends.end());
    result.ends = lists_.intern(work.ends);
    bytes_ += 32;
    const std::uint64_t content = content_of(result);
    const std::int32_t known = by_content_.find(content);
    if (known >= 0 && results_[static_cast<std::size_t>(known)] == result) return known;
    bytes_ += sizeof(Result) + 8 * result.words.size() + 4 * result.ids.size() + 4 * work.ends.size();
    results_.push_back(std::move(result));
    const auto made = static_cast<std::int32_t>(results_.size() - 1);
    by_content_.insert(content, made);
    return made;
  }
  // Equal results are kept once: the states of a long repetition accept the same tokens until its end is near.
  static std::uint64_t content_of(const Result& result) {
    auto content = static_cast<std::uint64_t>(result.ends);
    std::uint64_t factor = 0x9e3779b97f4a7c15u;  // fast rather than good, none waits: equal ones are compared
    for (const std::uint64_t word : result.words) content += word * (factor += 2);
    for (const std::int32_t id : result.ids) content += static_cast<std::uint64_t>(id) * (factor += 2);
    return content;
  }
  void join(std::vector<std::uint64_t>& out, const std::uint64_t* in) const {
    with_mask_kernels(isa_, [&](auto kernels) { decltype(kernels)::join(out.data(), in, out.size()); });
  }
  static void set_bit(std::vector<std::uint64_t>& words, std::int32_t id) {
    words[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << (id % 64);
  }
  static void clear_bit(std::vector<std::uint64_t>& words, std::int32_t id) {
    words[static_cast<std::size_t>(id) / 64] &= ~(std::uint64_t{1} << (id % 64));
  }

  // Tokens of which all that is behind `node` (the root or the space) is such a text as a profile describes.
  const std::uint64_t* text_mask(CharacterKinds first, CharacterKinds rest, std::size_t run, std::int32_t node) {
    if (is_endless(run)) run = unlimited;
    for (const TextMask& known : text_masks_)
      if (known.rest == rest && known.first == first && known.run == run && known.node == node)
        return known.words.data();
    std::vector<std::uint64_t> words(vocabulary_.mask_words());
    const bool at_root = node == Vocabulary::root;
    if (first == rest && run == unlimited) {
      const auto kinds = at_root ? vocabulary_.kinds() : vocabulary_.kinds_after_space();
      with_mask_kernels(
          isa_, [&](auto kernels) { decltype(kernels)::without(words.data(), kinds.data(), words.size(), ~rest); });
    } else {
      join(words, text_mask(rest, rest, unlimited, node));
      each_child(node, [&](std::int32_t w, std::uint8_t byte) {
        if ((kind_of_first(byte) & rest & ~first) == 0) return;
        for (const std::int32_t id : vocabulary_.tokens_below(w)) clear_bit(words, id);
      });
      for (const std::int32_t id : vocabulary_.longer_than(at_root ? run : run + 1)) clear_bit(words, id);
    }
    text_masks_.push_back({rest, first, run, node, std::move(words)});
    bytes_ += 8 * vocabulary_.mask_words();
    return text_masks_.back().words.data();
  }
  template <class F>
  void each_child(std::int32_t v, F&& f) const {
    const Vocabulary::Node& node = vocabulary_.node(v);
    for (std::int32_t w = node.first_child; w < node.first_child + node.children; ++w) f(w, vocabulary_.byte(w));
  }

  // f(child, its state) for those that `row`, a state's, does not leave dead. The bytes of a class lie side by side.
  template <class F>
  void each_alive(std::span<const std::int32_t> row, std::span<const Vocabulary::Node> children, F&& f) const {
    const std::span<const std::uint8_t> last_bytes = classes_.last_bytes();
    const auto* child = children.data();
    const auto* const end = child + children.size();
    for (std::size_t c = 0; c < row.size() && child != end; ++c) {
      if (row[c] == GrammarAutomaton::dead) continue;
      if (c > 0 && child->byte <= last_bytes[c - 1])
        child = std::upper_bound(child, end, last_bytes[c - 1],
                                 [](std::uint8_t byte, const Vocabulary::Node& node) { return byte < node.byte; });
      for (; child != end && child->byte <= last_bytes[c]; ++child) f(*child, row[c]);
    }
  }

  // A pass that has added the tokens of a state's kind of text, and how many characters of them are left; the way to
  // the node in hand is such a text.
  struct Covered {
    std::int32_t state = none;
    std::size_t left = 0;  // or unlimited
  };
  // The tokens below `v` from `state` on, but for those that are covered.
  void visit(Work& work, std::int32_t v, std::int32_t state, Covered covered) {
    const Vocabulary::Node& node = vocabulary_.node(v);
    if ((node.below & profile(state).next) == 0) return;
    if (++work_ > max_work_)
      give_up(mask_too_costly, joined({"at most ", max_work_, " nodes of the vocabulary (grammar_mask_work)"}),
              "Make the grammar less ambiguous");
    CharacterKinds kinds = covered.state == none ? 0 : profile(covered.state).rest;
    if (covered.state == none && (v == Vocabulary::root || v == vocabulary_.space())) {
      const Profile& here = with_all_rest(state);
      if (here.run > 1) {
        kinds = here.first;
        covered = {state, here.run};
        work.words.push_back(text_mask(here.first, here.rest, here.run, v));
      }
    }
    const CharacterKinds exit = covered.state == none ? 0 : profile(covered.state).rest_exit;
    const std::span<const std::int32_t> row = automaton_.row(state);
    const std::span<const Vocabulary::Node> children = vocabulary_.children(v);
    // `kinds` of characters go on with the text that is covered; nothing but a character of `exit` leads away from it.
    if (children.size() > row.size())
      each_alive(row, children, [&](const Vocabulary::Node& child, std::int32_t to) {
        const std::int32_t w = node.first_child + static_cast<std::int32_t>(&child - children.data());
        if ((kinds & kind_of_part(child.byte)) == 0)
          visit_open(work, w, to);
        else if (vocabulary_.node(w).below & exit)
          visit_covered(work, w, to, covered);
      });
    else
      for (std::int32_t w = node.first_child; const Vocabulary::Node& child : children) {
        const auto to = [&] { return row[automaton_.class_of(child.byte)]; };  // for most children nobody asks
        if ((kinds & kind_of_part(child.byte)) == 0) {
          if (to() != GrammarAutomaton::dead) visit_open(work, w, to());
        } else if (vocabulary_.node(w).below & exit) {
          if (to() != GrammarAutomaton::dead) visit_covered(work, w, to(), covered);
        }
        ++w;
      }
    const auto [begin, end] = automaton_.calls(state);
    for (const auto* call = begin; call != end; ++call)
      if (node.below & first_kinds_[static_cast<std::size_t>(call->rule)]) visit_call(work, v, *call);
  }
  // The token that ends at `w` is in the work, and a kind of character below leads away from some text of the pass. It
  // need not be looked at where the text goes on for as long as the pass says and none leads away from this one; where
  // it has its full length, all of it must.
  [[gnu::noinline]] void visit_covered(Work& work, std::int32_t w, std::int32_t to, Covered covered) {
    const Vocabulary::Node& child = vocabulary_.node(w);
    const Profile& start = profile(covered.state);
    const bool within = child.utf8 != Utf8::border;  // a character
    if (!within && covered.left != unlimited) --covered.left;
    if (covered.left == 0) return arrive(work, w, to, {});
    const Profile& here = within ? start : with_rest(to);
    const bool as_said = within || (here.run >= covered.left && here.first == start.rest && here.rest == start.rest);
    if (!as_said || (child.below & here.rest_exit)) arrive(work, w, to, covered);
  }
  [[gnu::noinline]] void visit_open(Work& work, std::int32_t w, std::int32_t to) {
    const Vocabulary::Node& child = vocabulary_.node(w);
    const Profile& there = profile(to);
    // Where only the loop goes on, all tokens below do; or where what is below is such a text as the profile describes.
    bool all = child.byte < 0x80 && (child.below & (~there.loop | there.exit)) == 0;
    if (!all && child.byte < 0x80 && child.tokens_end > child.own_end + 1 && (child.below & ~there.next) == 0) {
      const Profile& here = with_all_rest(to);
      all = here.first == here.rest && (child.below & (~here.rest | here.rest_exit)) == 0 && is_endless(here.run);
    }
    const auto tokens = all ? vocabulary_.tokens_below(w) : vocabulary_.own_tokens(w);
    work.ids.insert(work.ids.end(), tokens.begin(), tokens.end());
    if (!all) arrive(work, w, to, {});
  }

  void visit_call(Work& work, std::int32_t v, const GrammarAutomaton::Call& call) {
    const std::int32_t called = within_node(v, automaton_.start(call.rule));
    const Result& result = results_[static_cast<std::size_t>(called)];
    if (!result.words.empty()) work.words.push_back(result.words.data());
    work.ids.insert(work.ids.end(), result.ids.begin(), result.ids.end());
    for (const std::int32_t end : lists_[result.ends])
      if (work.arrived.insert(IntIndex::key(end, call.back), 0)) arrive(work, end, call.back, {});
  }

  // `state` has been reached at node `v`.
  void arrive(Work& work, std::int32_t v, std::int32_t state, Covered covered) {
    if (automaton_.ends(state) && may_end(v, automaton_.rule_of(state))) work.ends.push_back(v);
    visit(work, v, state, covered);
  }
  bool may_end(std::int32_t v, std::int32_t rule) const {
    const Vocabulary::Node& node = vocabulary_.node(v);
    if ((node.below & follow_kinds_[static_cast<std::size_t>(rule)]) == 0) return false;
    bool found = false;
    each_child(v, [&](std::int32_t, std::uint8_t byte) { found |= automaton_.follow(rule).has(byte); });
    return found;
  }

  const GrammarAutomaton& automaton_;
  CharacterClasses classes_;
  const Vocabulary& vocabulary_;
  Isa isa_;
  std::vector<Profile> profiles_;                           // (states)
  std::vector<CharacterKinds> first_kinds_, follow_kinds_;  // (rules)
  std::vector<std::uint32_t> seen_;                         // (states) the serial_ at which leads_home() saw each last
  std::uint32_t serial_ = 0;
  std::size_t longest_token_ = 0;
  std::deque<TextMask> text_masks_;  // a mask stays where it is
  IntIndex by_node_, by_list_, by_content_;
  std::deque<Result> results_;  // a result stays where it is
  ListTable lists_;
  std::deque<Work> works_;
  std::size_t depth_ = 0;
  std::size_t bytes_ = 0;
  std::int64_t max_work_, work_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
