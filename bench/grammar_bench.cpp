// Token masks of a grammar along given texts: microseconds for each mask and each accepted token, from an empty memo
// for every text (cold) and with one memo for all (warm); the way from a grammar's text to its first mask; a mask
// applied to logits. Usage: grammar_bench VOCABULARY GRAMMAR TEXTS, see bench/peers/grammar/make_texts.py.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "expert/grammar/grammar.hpp"
#include "expert/json/read_file.hpp"
#include "grammar_timing.hpp"

using namespace expert;
using namespace expert::bench;

namespace {

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

// Every text must be a sentence of the grammar.
void follow_all(TokenMasks& masks, const Ids& ids, PassTimes& times) {
  if (!follow(masks, ids, times)) std::fprintf(stderr, "a text is not accepted\n"), std::exit(1);
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

  const auto make_vocabulary = [&] {
    return Vocabulary(static_cast<std::int64_t>(tokens.size()), {&end_token, 1}, bytes_of);
  };
  const auto parse = [&] { return read_grammar(argv[2]); };
  double start = now_us();
  const Vocabulary vocabulary = make_vocabulary();
  const double vocabulary_us = now_us() - start;
  StartTimes begin = time_first_mask(vocabulary, parse);
  Times from_texts = time_from_texts(make_vocabulary, parse);

  const GrammarAutomaton automaton(parse());
  PassTimes cold, first_pass, warm;
  for (const Ids& ids : texts) {
    TokenMasks masks(automaton, vocabulary);
    follow_all(masks, ids, cold);
  }
  TokenMasks masks(automaton, vocabulary);
  for (const Ids& ids : texts) follow_all(masks, ids, first_pass);
  for (const Ids& ids : texts) follow_all(masks, ids, warm);

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

  const Json result = Json::object()
                          .set("grammar", argv[2])
                          .set("isa", name_of(best_isa()))
                          .set("texts", std::ssize(texts))
                          .set("states", automaton.states())
                          .set("deterministic", automaton.is_deterministic())
                          .set("max_heads", warm.heads)
                          .set("vocabulary_us", std::round(vocabulary_us))
                          .set("compile", begin.compile.json())
                          .set("compile_and_first_mask", begin.first_mask.json())
                          .set("vocabulary_compile_and_first_mask", from_texts.json())
                          .set("mask_cold", cold.mask.json())
                          .set("mask_one_memo_first_pass", first_pass.mask.json())
                          .set("mask_warm", warm.mask.json())
                          .set("accept_cold", cold.accept.json())
                          .set("accept_warm", warm.accept.json())
                          .set("apply_mask", apply.json());
  std::printf("%s\n", result.dump(2).c_str());
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
