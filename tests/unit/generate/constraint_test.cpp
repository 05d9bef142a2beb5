// Generation under a grammar: every text is a sentence, forced tokens and batches change nothing, stop sequences end a
// text only where the grammar accepts it.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "expert/generate.hpp"
#include "expert/grammar/constraint.hpp"
#include "expert/grammar/gbnf.hpp"
#include "expert/policy/assemble.hpp"
#include "small_model.hpp"

namespace constraint_test {
using namespace expert;

namespace {

using tests::SmallModel;
using Small = Expert<SmallModel, Compute<f32>, Packing<32>, Batch<2>, DoRA<12>>;
const std::string model_directory = EXPERT_SOURCE_DIR "/tests/parity/data/model";
constexpr std::int32_t end_token = 1;

// Ids 2 to 257 are the bytes, the next ones texts that cross what grammars tell apart; the rest are no tokens.
const std::vector<std::string> words{"SELECT ", "';", ";\n", "a, b", "; x", "x';'"};
std::string bytes_of(std::int32_t id) {
  if (id >= 2 && id < 258) return std::string(1, static_cast<char>(id - 2));
  if (id >= 258 && id < 258 + static_cast<std::int32_t>(words.size())) return words[static_cast<std::size_t>(id - 258)];
  return {};
}

struct Masks {
  explicit Masks(const char* gbnf)
      : automaton(parse_gbnf(gbnf, "test")),
        vocabulary(512, std::span(&end_token, 1), bytes_of),
        masks(automaton, vocabulary) {}
  GrammarAutomaton automaton;
  Vocabulary vocabulary;
  TokenMasks masks;
};

std::int32_t any_allowed(GrammarConstraint& constraint, const Masks& masks, const RandomStream& random,
                         std::uint64_t draw) {
  const auto mask = constraint.mask(0);
  std::vector<std::int32_t> allowed;
  for (std::int32_t id = 0; id < masks.vocabulary.size(); ++id)
    if (mask[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) allowed.push_back(id);
  REQUIRE(!allowed.empty());
  return allowed[random.below(draw, static_cast<std::uint32_t>(allowed.size()))];
}

constexpr const char* statement =
    R"(root ::= "SELECT " name (", " name)* " FROM tbl" (" WHERE x = '" [a-z;]{0,4} "'")? ";"?
name ::= [a-c]{1,3})";

struct Result {
  std::vector<std::string> texts, stops;
  std::vector<std::vector<std::int32_t>> ids;
  std::vector<StopReason> reasons;
  friend bool operator==(const Result&, const Result&) = default;
};

// Hides forced(), so that every token is drawn.
struct Unforced : GrammarConstraint {
  using GrammarConstraint::GrammarConstraint;
  std::vector<std::int32_t> forced(std::size_t, std::int64_t) { return {}; }
};

template <class Constraint = GrammarConstraint>
Result generate(Masks& masks, std::int64_t rows, int threads, std::vector<std::string> stops = {}) {
  CpuDevice device(threads);
  const auto weights = load_weights<Small>(model_directory, device);
  Generator<Small> generator(device, weights, nullptr, {.context_length = 128, .rows = rows});
  const std::vector<std::vector<std::int32_t>> prompts{{5, 6, 7}, {9}, {100, 4}, {8, 8, 8, 8}, {44}, {3, 2}};
  const GenerateOptions options{
      .max_new_tokens = 80, .do_sample = true, .sampling = {.temperature = 5}, .seed = 3, .eos_token_id = {end_token}};
  Constraint constraint(masks.masks, prompts.size(), std::move(stops));
  Result result;
  const auto generated = generator.generate(prompts, options, Generator<Small>::GoOn{}, constraint);
  for (std::size_t i = 0; i < generated.size(); ++i) {
    result.texts.push_back(constraint.text(i));
    result.stops.push_back(constraint.stopped_by(i));
    result.ids.push_back(generated[i].ids);
    result.reasons.push_back(generated[i].stop_reason);
    CHECK((generated[i].stop_reason == StopReason::length || constraint.is_complete(i)));
  }
  return result;
}

bool is_sentence(Masks& masks, const std::string& text) {
  GrammarMatcher matcher(masks.masks);
  return matcher.accept_text(text) && matcher.is_accepting();
}

}  // namespace

TEST_CASE("every finished text is a sentence; batches, threads and forced tokens change nothing", "[grammar]") {
  Masks masks(statement);
  const Result alone = generate(masks, 1, 1);
  std::size_t finished = 0;
  for (std::size_t i = 0; i < alone.texts.size(); ++i) {
    INFO(alone.texts[i]);
    if (alone.reasons[i] == StopReason::length) continue;
    ++finished;
    CHECK(is_sentence(masks, alone.texts[i]));
  }
  CHECK(finished >= 3);
  CHECK(generate(masks, 4, 2) == alone);
  CHECK(generate<Unforced>(masks, 2, 1) == alone);
}

TEST_CASE("what is forced is not drawn", "[grammar]") {
  Masks masks("root ::= \"SELECT ab\" [x]{3}");
  const Result result = generate(masks, 2, 1);
  for (std::size_t i = 0; i < result.texts.size(); ++i) {
    CHECK(result.texts[i] == "SELECT abxxx");
    CHECK(result.reasons[i] == StopReason::eos);
  }
}

TEST_CASE("a stop sequence ends a text where the grammar accepts what stands before it", "[grammar]") {
  Masks masks(statement);
  const Result result = generate(masks, 4, 1, {";", "\n\n"});
  std::size_t stopped = 0;
  for (std::size_t i = 0; i < result.texts.size(); ++i) {
    INFO(result.texts[i]);
    if (result.reasons[i] == StopReason::length) continue;
    CHECK(is_sentence(masks, result.texts[i]));
    CHECK(!result.texts[i].ends_with(";"));
    if (result.reasons[i] == StopReason::callback) CHECK(result.stops[i] == ";");
    stopped += result.stops[i] == ";";
  }
  CHECK(stopped >= 1);

  // By hand: inside of a literal, in one token with it, and in the middle of a token.
  GrammarConstraint constraint(masks.masks, 1, {";"});
  const auto token = [](const std::string& word) {
    return static_cast<std::int32_t>(258 + (std::find(words.begin(), words.end(), word) - words.begin()));
  };
  CHECK(constraint.accept(0, token("SELECT ")));
  for (const char c : std::string("a FROM tbl WHERE x = '")) CHECK(constraint.accept(0, 2 + c));
  CHECK(constraint.accept(0, token("x';'") - 0) ==
        false);                             // the literal ends with x', then a stop that crosses no rule
  CHECK(constraint.stopped_by(0).empty());  // ... but '; is followed by ' which no sentence has
  GrammarConstraint inside(masks.masks, 1, {";"});
  for (const char c : std::string("SELECT a FROM tbl WHERE x = ';")) CHECK(inside.accept(0, 2 + c));
  CHECK_FALSE(inside.accept(0, token("';")));
  CHECK(inside.stopped_by(0) == ";");
  CHECK(inside.text(0) == "SELECT a FROM tbl WHERE x = ';'");
  CHECK(inside.is_complete(0));
}

TEST_CASE("a text that has a bound of tokens is complete within them", "[constraint]") {
  const char* grammars[] = {statement, R"gbnf(root ::= "(" root ")" | "[" root "]" | "x" root | "x")gbnf",
                            R"gbnf(root ::= value
value ::= "{" (pair (", " pair)*)? "}" | "\"" [^"\\]* "\"" | "\xe2\x82\xac" | [0-9]+
pair ::= "\"" [a-z]+ "\": " value)gbnf"};
  std::size_t closed = 0, ended = 0;
  for (const char* grammar : grammars) {
    Masks masks(grammar);
    const auto least = static_cast<std::int64_t>(GrammarMatcher(masks.masks).shortest_end().size());
    for (std::int64_t most = least; most < least + 60; ++most)
      for (std::uint64_t seed = 0; seed < 5; ++seed) {
        const RandomStream random(seed, Purpose::sample, static_cast<std::uint32_t>(most));
        GrammarConstraint constraint(masks.masks, 1, {}, most);
        std::int64_t tokens = 0;
        const auto draw = [&] { return any_allowed(constraint, masks, random, static_cast<std::uint64_t>(tokens)); };
        while (tokens < most) {
          std::int32_t id = draw();
          while (!constraint.fits(0, id)) id = draw();
          if (id == end_token) break;
          REQUIRE(constraint.accept(0, id));
          ++tokens;
          for (const std::int32_t forced : constraint.forced(0, most - tokens)) {
            REQUIRE(constraint.accept(0, forced));
            ++tokens;
          }
        }
        INFO(grammar << ", at most " << most << ": " << constraint.text(0));
        CHECK(constraint.is_complete(0));
        CHECK(is_sentence(masks, constraint.text(0)));
        ++(constraint.was_closed(0) ? closed : ended);
      }
  }
  CHECK(closed > 100);
  CHECK(ended > 50);

  Masks masks(statement);  // nothing is short enough: what there is room for is the beginning of the shortest
  GrammarConstraint tight(masks.masks, 1, {}, 2);
  const std::int32_t select = 258;
  CHECK(tight.fits(0, select));
}

TEST_CASE("no object of JSON gets a name twice, where the grammar leaves another one", "[constraint]") {
  Masks masks(R"(root ::= "{" pair ("," pair){3} "}"
pair ::= "\"" [ab]+ "\":" (root | "1" | "\"a\""))");
  int repeated = 0;
  for (const bool once : {false, true})
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      const RandomStream random(seed, Purpose::sample);
      GrammarConstraint constraint(masks.masks, 1, {}, 600);
      if (once) constraint.refuse_repeated_names();
      std::uint64_t drawn = 0;
      const auto draw = [&] { return any_allowed(constraint, masks, random, drawn++); };
      for (std::int32_t id = 0; id != end_token;) {
        id = draw();
        while (!constraint.fits(0, id)) id = draw();
        if (id != end_token) REQUIRE(constraint.accept(0, id));
      }
      const std::string& text = constraint.text(0);
      INFO(text);
      CHECK(is_sentence(masks, text));
      const auto code = [&] {
        try {
          parse_json(text, "text", 1 << 20);
          return 0;
        } catch (const Error& error) {
          return error.code();
        }
      };
      const int problem = code();
      if (once && !constraint.was_closed(0)) CHECK(problem == 0);
      if (!once) repeated += problem == 213;
    }
  CHECK(repeated > 20);

  Masks only(R"(root ::= "{\"a\":1" ",\"a\":2"{1,2} "}")");  // no other name can come
  GrammarConstraint constraint(only.masks, 1);
  constraint.refuse_repeated_names();
  for (const char c : std::string(R"({"a":1,"a":2})")) {
    const std::int32_t id = 2 + static_cast<unsigned char>(c);
    constraint.fits(0, id);
    CHECK(constraint.fits(0, id));
    CHECK(constraint.accept(0, id));
  }
  CHECK(constraint.is_complete(0));
}

TEST_CASE("a text may follow masks of its own", "[constraint]") {
  Masks masks(statement), other(R"(root ::= "x';'")");
  GrammarConstraint constraint(masks.masks, 2);
  constraint.use(1, other.masks);
  CHECK(constraint.accept(0, 258));      // SELECT
  CHECK(constraint.accept(1, 258 + 5));  // x';'
  CHECK_FALSE(constraint.is_complete(0));
  CHECK(constraint.is_complete(1));
}

}  // namespace constraint_test
