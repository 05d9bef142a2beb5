// Token masks of a grammar along given texts: microseconds for each mask and each accepted token, from an empty memo
// for every text (cold) and with one memo for all (warm); the way from a grammar's text to its first mask; a mask
// applied to logits. Usage: grammar_bench VOCABULARY GRAMMAR TEXTS, see bench/peers/grammar/make_texts.py.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "expert/grammar/grammar.hpp"
#include "expert/json/read_file.hpp"

using namespace expert;

namespace {

double now_us() {
  const auto t = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(t).count()) / 1000;
}

struct Times {
  std::vector<double> us = {};
  void print(const char* name, bool last = false) {
    std::sort(us.begin(), us.end());
    const auto at = [&](double q) { return us[static_cast<std::size_t>(q * static_cast<double>(us.size() - 1))]; };
    std::printf("  \"%s\": {\"n\": %zu, \"median_us\": %.2f, \"p90_us\": %.2f, \"p99_us\": %.2f, \"max_us\": %.1f}%s\n",
                name, us.size(), at(0.5), at(0.9), at(0.99), us.back(), last ? "" : ",");
  }
};

// rows of make_texts.py's vocabulary.bin
std::vector<std::string> read_vocabulary(const std::string& path) {
  const std::string bytes = read_file(path, 64 << 20);
  std::uint32_t count = 0;
  std::memcpy(&count, bytes.data(), 4);
  std::vector<std::string> tokens;
  for (std::size_t at = 4; tokens.size() < count;) {
    std::uint16_t size = 0;
    std::memcpy(&size, bytes.data() + at, 2);
    tokens.push_back(bytes.substr(at + 2, size));
    at += 2u + size;
  }
  return tokens;
}

using Ids = std::vector<std::int32_t>;
std::vector<Ids> read_texts(const std::string& path) {
  std::vector<Ids> texts;
  const std::string text = read_file(path, 64 << 20);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const Json row = parse_json(std::string_view(text).substr(at, end - at), path, 1 << 20);
    texts.emplace_back();
    for (const Json& id : row.find("ids")->items()) texts.back().push_back(static_cast<std::int32_t>(id.as_int()));
    at = end + 1;
  }
  return texts;
}

// Masks and accepts all of a text; the end must be allowed behind it.
void follow(TokenMasks& masks, const Ids& ids, Times& mask, Times& accept, std::size_t& heads) {
  GrammarMatcher matcher(masks);
  for (const std::int32_t id : ids) {
    const double t0 = now_us();
    const auto allowed = matcher.mask();
    const double t1 = now_us();
    const bool in_mask = allowed[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1;
    const double t2 = now_us();
    const bool accepted = matcher.accept(id);
    const double t3 = now_us();
    mask.us.push_back(t1 - t0);
    accept.us.push_back(t3 - t2);
    heads = std::max(heads, static_cast<std::size_t>(matcher.live_heads()));
    if (!in_mask || !accepted) {
      std::fprintf(stderr, "token %d is not allowed (mask %d, accept %d)\n", id, in_mask, accepted);
      std::exit(1);
    }
  }
  if (!matcher.is_accepting()) std::fprintf(stderr, "a text is not complete\n"), std::exit(1);
}

GrammarSyntax read_grammar(const std::string& path) {
  const std::string text = read_file(path, default_limits.grammar_bytes);
  return path.ends_with(".json") ? parse_json_schema(text, path) : parse_gbnf(text, path);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) return std::fprintf(stderr, "usage: grammar_bench VOCABULARY GRAMMAR TEXTS\n"), 2;
  const std::vector<std::string> tokens = read_vocabulary(argv[1]);
  const std::vector<Ids> texts = read_texts(argv[3]);
  const std::int32_t end_token = static_cast<std::int32_t>(tokens.size()) - 1;
  const auto bytes_of = [&](std::int32_t id) -> const std::string& { return tokens[static_cast<std::size_t>(id)]; };

  double start = now_us();
  const Vocabulary vocabulary(static_cast<std::int64_t>(tokens.size()), {&end_token, 1}, bytes_of);
  const double vocabulary_us = now_us() - start;

  Times compile, first_mask;
  for (int i = 0; i < 20; ++i) {
    start = now_us();
    const GrammarAutomaton automaton(read_grammar(argv[2]));
    const double compiled = now_us();
    TokenMasks masks(automaton, vocabulary);
    GrammarMatcher matcher(masks);
    matcher.mask();
    compile.us.push_back(compiled - start);
    first_mask.us.push_back(now_us() - start);
  }

  const GrammarAutomaton automaton(read_grammar(argv[2]));
  Times cold, warm, accept_cold, accept_warm;
  std::size_t heads = 0;
  for (const Ids& ids : texts) {
    TokenMasks masks(automaton, vocabulary);
    follow(masks, ids, cold, accept_cold, heads);
  }
  TokenMasks masks(automaton, vocabulary);
  Times first_pass, first_accept;
  for (const Ids& ids : texts) follow(masks, ids, first_pass, first_accept, heads);
  for (const Ids& ids : texts) follow(masks, ids, warm, accept_warm, heads);

  Times apply;
  std::vector<float> logits(tokens.size());
  GrammarMatcher matcher(masks);
  const auto mask = matcher.mask();
  for (int i = 0; i < 200; ++i) {
    std::fill(logits.begin(), logits.end(), 1.0f);
    start = now_us();
    apply_mask(logits.data(), logits.size(), mask.data());
    apply.us.push_back(now_us() - start);
  }

  std::printf(
      "{\"grammar\": \"%s\", \"isa\": \"%s\", \"texts\": %zu, \"states\": %d, \"deterministic\": %s, \"max_heads\": "
      "%zu,\n",
      argv[2], name_of(best_isa()).data(), texts.size(), automaton.states(),
      automaton.is_deterministic() ? "true" : "false", heads);
  std::printf("  \"vocabulary_us\": %.0f,\n", vocabulary_us);
  compile.print("compile");
  first_mask.print("compile_and_first_mask");
  cold.print("mask_cold");
  first_pass.print("mask_one_memo_first_pass");
  warm.print("mask_warm");
  accept_cold.print("accept_cold");
  accept_warm.print("accept_warm");
  apply.print("apply_mask", true);
  std::printf("}\n");
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
