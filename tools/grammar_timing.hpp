// Texts as token ids -> microseconds of each mask and each accepted token along them, and of the way from a grammar's
// text to its first mask. Of grammar_bench and of `expert-cli grammar bench`.
#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "expert/grammar/grammar.hpp"
#include "expert/json/json.hpp"

namespace expert::bench {

inline double now_us() {
  const auto t = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(t).count()) / 1000;
}

struct Times {
  std::vector<double> us = {};

  // {n, median_us, p90_us, p99_us, max_us}; n alone where nothing was measured.
  Json json() {
    std::sort(us.begin(), us.end());
    Json result = Json::object().set("n", std::ssize(us));
    if (us.empty()) return result;
    const auto at = [&](double q) {
      return std::round(us[static_cast<std::size_t>(q * static_cast<double>(us.size() - 1))] * 100) / 100;
    };
    return result.set("median_us", at(0.5)).set("p90_us", at(0.9)).set("p99_us", at(0.99)).set("max_us", at(1));
  }
};

// What one pass over texts took.
struct PassTimes {
  Times mask, accept;
  std::int64_t heads = 0;  // the most derivations that were alive at once
};

// Masks and accepts all of a text. False, at the first token that is not allowed, or where the text is not complete.
inline bool follow(TokenMasks& masks, std::span<const std::int32_t> ids, PassTimes& times) {
  GrammarMatcher matcher(masks);
  for (const std::int32_t id : ids) {
    const double t0 = now_us();
    const auto allowed = matcher.mask();
    const double t1 = now_us();
    const bool in_mask = allowed[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1;
    const double t2 = now_us();
    const bool accepted = matcher.accept(id);
    const double t3 = now_us();
    times.mask.us.push_back(t1 - t0);
    times.accept.us.push_back(t3 - t2);
    times.heads = std::max(times.heads, std::int64_t{matcher.live_heads()});
    if (!in_mask || !accepted) return false;
  }
  return matcher.is_accepting();
}

struct StartTimes {
  Times compile, first_mask;  // the second with the first
};
// read() -> GrammarSyntax, `times` over.
template <class Read>
StartTimes time_first_mask(const Vocabulary& vocabulary, const Read& read, int times = 20) {
  StartTimes result;
  for (int i = 0; i < times; ++i) {
    const double start = now_us();
    const GrammarAutomaton automaton(read());
    result.compile.us.push_back(now_us() - start);
    TokenMasks masks(automaton, vocabulary);
    GrammarMatcher(masks).mask();
    result.first_mask.us.push_back(now_us() - start);
  }
  return result;
}
// The same from the texts of tokens on: make() -> Vocabulary, all of whose tables are new.
template <class Make, class Read>
Times time_from_texts(const Make& make, const Read& read, int times = 20) {
  Times result;
  for (int i = 0; i < times; ++i) {
    const double start = now_us();
    const Vocabulary vocabulary = make();
    const GrammarAutomaton automaton(read());
    TokenMasks masks(automaton, vocabulary);
    GrammarMatcher(masks).mask();
    result.us.push_back(now_us() - start);
  }
  return result;
}

}  // namespace expert::bench
