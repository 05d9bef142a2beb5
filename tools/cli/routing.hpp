// A request and the /routing blocks of several manifests -> how well each expert fits it; the /constraints blocks of
// experts that are loaded together -> everything that forbids it.
#pragma once
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/common.hpp"
#include "expert/core/sort.hpp"
#include "expert/manifest.hpp"

namespace cli {

inline constexpr ErrorCode expert_required{411, "an expert requires another one"};
inline constexpr ErrorCode experts_incompatible{412, "two experts must not be loaded together"};
inline constexpr ErrorCode load_order_twice{413, "two experts have the same place in the order of loading"};
inline constexpr ErrorCode chain_too_long{414, "more experts are loaded together than one of them allows"};
inline constexpr ErrorCode bad_requirement{415, "a requirement is neither a name nor name>=version"};

// /name, /version, /routing and /constraints of a manifest.
struct ExpertCard {
  std::string file, name, version;
  std::vector<std::string> keywords = {}, exclude_keywords = {};
  std::string router_hint = {};
  double priority = 0;
  std::optional<std::int64_t> max_chain = {}, load_order = {};
  std::vector<std::string> incompatible_with = {}, requirements = {};
};

inline ExpertCard card_of(const Manifest& manifest) {
  ExpertCard card{.file = manifest.file,
                  .name = manifest.find("/name")->as_string(),
                  .version = manifest.find("/version")->as_string()};
  const auto texts = [&](const char* pointer, std::vector<std::string>& to) {
    if (const Json* list = manifest.find(pointer))
      for (const Json& text : list->items()) to.push_back(text.as_string());
  };
  const auto integer = [&](const char* pointer) -> std::optional<std::int64_t> {
    const Json* value = manifest.find(pointer);
    return value == nullptr ? std::nullopt : std::optional(value->as_int());
  };
  texts("/routing/keywords", card.keywords), texts("/routing/exclude_keywords", card.exclude_keywords);
  if (const Json* hint = manifest.find("/routing/router_hint")) card.router_hint = hint->as_string();
  if (const Json* priority = manifest.find("/routing/priority")) card.priority = priority->as_double();
  card.max_chain = integer("/constraints/max_chain"), card.load_order = integer("/constraints/load_order");
  texts("/constraints/incompatible_with", card.incompatible_with), texts("/constraints/requires", card.requirements);
  return card;
}

// ---- routing

// A to Z as small letters, other characters as they are, and each run of white space as one space.
inline std::string folded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool blank = c == ' ' || (c >= '\t' && c <= '\r');
    if (blank && (out.empty() || out.back() == ' ')) continue;
    out += blank ? ' ' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

// How often a word or phrase stands in a text, both folded, not within a longer word. Characters beyond ASCII belong to
// words.
inline std::int64_t times_in(std::string_view text, std::string_view phrase) {
  const auto in_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
  };
  std::int64_t times = 0;
  for (std::size_t at = 0; !phrase.empty() && (at = text.find(phrase, at)) != text.npos;) {
    const std::size_t end = at + phrase.size();
    const bool begins = at == 0 || !in_word(text[at - 1]) || !in_word(phrase.front());
    const bool ends = end == text.size() || !in_word(text[end]) || !in_word(phrase.back());
    times += begins && ends;
    at = begins && ends ? end : at + 1;
  }
  return times;
}

inline constexpr double hint_weight = 3;

// score = (matches + 3 where the hint is this expert's) * (1 + priority), and 0 where an excluded keyword stands in the
// text. Experts with a score of 0 are not chosen.
struct Route {
  std::size_t expert = 0;  // index of its card
  std::int64_t matches = 0;
  bool hinted = false;
  std::string vetoed_by = {};  // the excluded keyword that was found
  double score = 0;
};

// Every expert, best first; equal scores by priority, then by name.
inline std::vector<Route> route(const std::vector<ExpertCard>& cards, std::string_view text, std::string_view hint) {
  const std::string request = folded(text);
  std::vector<Route> routes;
  for (std::size_t i = 0; i < cards.size(); ++i) {
    Route r{.expert = i};
    for (const std::string& keyword : cards[i].keywords) r.matches += times_in(request, folded(keyword));
    for (const std::string& keyword : cards[i].exclude_keywords)
      if (r.vetoed_by.empty() && times_in(request, folded(keyword)) > 0) r.vetoed_by = keyword;
    r.hinted = !hint.empty() && folded(hint) == folded(cards[i].router_hint);
    const double points = static_cast<double>(r.matches) + (r.hinted ? hint_weight : 0);
    r.score = r.vetoed_by.empty() ? points * (1 + cards[i].priority) : 0;
    routes.push_back(std::move(r));
  }
  sort_list(routes, [&](const Route& a, const Route& b) {
    const ExpertCard &x = cards[a.expert], &y = cards[b.expert];
    if (a.score != b.score) return a.score > b.score;
    if (x.priority != y.priority) return x.priority > y.priority;
    return x.name < y.name;
  });
  return routes;
}

// Those of `routes` that the request belongs to: the best ones, as many as all of them allow together, in the order in
// which they are loaded (load_order; without one last, the better first).
inline std::vector<std::size_t> chain_of(const std::vector<ExpertCard>& cards, const std::vector<Route>& routes) {
  std::vector<std::size_t> chain;
  std::int64_t at_most = std::int64_t{1} << 40;
  for (const Route& r : routes) {
    const std::int64_t own = cards[r.expert].max_chain.value_or(at_most);
    if (r.score <= 0 || std::min(at_most, own) <= std::ssize(chain)) break;
    at_most = std::min(at_most, own);
    chain.push_back(r.expert);
  }
  sort_list(chain, [&](std::size_t a, std::size_t b) {
    return cards[a].load_order.value_or(INT64_MAX) < cards[b].load_order.value_or(INT64_MAX);
  });
  return chain;
}

// ---- constraints

// -1, 0, 1 by the precedence of semantic versions: 1.0.0-rc.2 < 1.0.0-rc.10 < 1.0.0; +build counts for nothing.
inline int compare_versions(std::string_view a, std::string_view b) {
  const auto split = [](std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t end = std::min(text.find(separator, at), text.size());
      parts.push_back(text.substr(at, end - at));
      at = end + 1;
    }
    return parts;
  };
  const auto compare_parts = [&](std::string_view x, std::string_view y) {
    const auto is_number = [](std::string_view s) { return s.find_first_not_of("0123456789") == s.npos; };
    if (is_number(x) != is_number(y)) return is_number(x) ? -1 : 1;
    if (is_number(x) && x.size() != y.size()) return x.size() < y.size() ? -1 : 1;  // no leading zeros
    const int order = x.compare(y);
    return order < 0 ? -1 : order > 0 ? 1 : 0;
  };
  a = a.substr(0, a.find('+')), b = b.substr(0, b.find('+'));
  const std::size_t a_dash = std::min(a.find('-'), a.size()), b_dash = std::min(b.find('-'), b.size());
  const auto lists = [&](std::string_view x, std::string_view y) {
    const auto left = split(x, '.'), right = split(y, '.');
    for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i)
      if (const int order = compare_parts(left[i], right[i])) return order;
    return left.size() < right.size() ? -1 : left.size() > right.size() ? 1 : 0;
  };
  if (const int order = lists(a.substr(0, a_dash), b.substr(0, b_dash))) return order;
  const bool a_final = a_dash == a.size(), b_final = b_dash == b.size();
  if (a_final || b_final) return a_final == b_final ? 0 : a_final ? 1 : -1;
  return lists(a.substr(a_dash + 1), b.substr(b_dash + 1));
}

struct Requirement {
  std::string name, at_least;  // at_least empty: any version
};
// "expert-sql" or "expert-sql>=0.2.0", spaces around >= allowed.
inline std::optional<Requirement> requirement_of(std::string_view text) {
  const auto trimmed = [](std::string_view part) {
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    return part;
  };
  const std::size_t sign = text.find(">=");
  const std::string_view name = trimmed(text.substr(0, sign));
  const std::string_view version = sign == text.npos ? "" : trimmed(text.substr(sign + 2));
  const bool is_name = !name.empty() && name.find_first_of("<>=! ") == name.npos;
  const bool is_version = sign == text.npos || expert::detail::is_version(version);
  if (!is_name || !is_version) return std::nullopt;
  return Requirement{std::string(name), std::string(version)};
}

// Everything that forbids to load these experts together, in their order; empty where nothing does. Two manifests of
// one expert are no conflict but for their load_order.
inline std::vector<Error> constraint_errors(const std::vector<ExpertCard>& cards) {
  std::vector<Error> errors;
  const auto loaded = [&](std::string_view name) {
    return std::find_if(cards.begin(), cards.end(), [&](const ExpertCard& card) { return card.name == name; });
  };
  for (std::size_t i = 0; i < cards.size(); ++i) {
    const ExpertCard& card = cards[i];
    for (const std::string& text : card.requirements) {
      const auto required = requirement_of(text);
      if (!required) {
        errors.push_back(Error(bad_requirement, {.file = card.file,
                                                 .where = "/constraints/requires",
                                                 .expected = "expert-sql or expert-sql>=0.2.0",
                                                 .got = expert::quoted(text),
                                                 .fix = {}}));
        continue;
      }
      const auto other = loaded(required->name);
      const bool is_there = other != cards.end();
      if (is_there && (required->at_least.empty() || compare_versions(other->version, required->at_least) >= 0))
        continue;
      errors.push_back(
          Error(expert_required, {.file = card.file,
                                  .where = "/constraints/requires",
                                  .expected = text,
                                  .got = is_there ? "version " + other->version : "an expert that is absent",
                                  .fix = "Load it beside " + card.name}));
    }
    for (const std::string& name : card.incompatible_with)
      if (const auto other = loaded(name); other != cards.end() && &*other != &card)
        errors.push_back(Error(experts_incompatible, {.file = card.file,
                                                      .where = "/constraints/incompatible_with",
                                                      .expected = "no " + name,
                                                      .got = other->file,
                                                      .fix = "Load one of them"}));
    for (std::size_t j = 0; j < i; ++j)
      if (card.load_order && card.load_order == cards[j].load_order)
        errors.push_back(Error(load_order_twice, {.file = card.file,
                                                  .where = "/constraints/load_order",
                                                  .expected = "another place than that of " + cards[j].name,
                                                  .got = std::to_string(*card.load_order),
                                                  .fix = "Number them apart"}));
  }
  return errors;
}
// The same, and no more of them than each allows.
inline std::vector<Error> chain_errors(const std::vector<ExpertCard>& cards) {
  std::vector<Error> errors = constraint_errors(cards);
  for (const ExpertCard& card : cards)
    if (card.max_chain && *card.max_chain < std::ssize(cards))
      errors.push_back(Error(chain_too_long, {.file = card.file,
                                              .where = "/constraints/max_chain",
                                              .expected = "at most " + std::to_string(*card.max_chain),
                                              .got = std::to_string(cards.size()) + " experts",
                                              .fix = "Load fewer at once"}));
  return errors;
}

}  // namespace cli
