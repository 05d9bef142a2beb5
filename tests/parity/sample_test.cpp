// Sampling warpers and greedy choice on the fixture's logits, against transformers.
#include "expert/ops/sample.hpp"

#include "sample_scratch.hpp"
#include "support.hpp"

namespace sample_test {
using namespace parity;

namespace {

// What `change` makes of one row of logits.
template <class F>
std::vector<float> warped(std::vector<float> logits, F&& change) {
  Scratch scratch(logits.size());
  change(std::span<float>(logits), scratch.get());
  return logits;
}

// Calls f(row number, input row, expected row) for every row of "warp.input".
template <class Set, class F>
void for_each_row(const SafetensorsFile& file, const std::string& name, F&& f) {
  constexpr auto vocab = static_cast<std::size_t>(Set::model::vocab_size);
  if (!has(file, "warp." + name)) return;
  const std::vector<float> input = floats(file, "warp.input"), expected = floats(file, "warp." + name);
  REQUIRE(input.size() == expected.size());
  REQUIRE(input.size() >= vocab);
  for (std::size_t r = 0; r < input.size() / vocab; ++r) {
    INFO(name << ", row " << r);
    f(row_of(input, r, vocab), row_of(expected, r, vocab));
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("every warper gives transformers' logits, bit for bit", "[parity][sample]",
                        parity_sets::ParitySets) {
  using Set = TestType;
  const auto file = fixture<Set>("ref_decode");
  if (!file) return;
  const auto check = [&](const std::string& name, auto&& change) {
    for_each_row<Set>(*file, name, [&](const std::vector<float>& row, const std::vector<float>& theirs) {
      const bool equal = warped(row, change) == theirs;
      CHECK(equal);
    });
  };
  check("temperature_0.1", [](std::span<float> l, SampleScratch) { reference::warp_temperature(l, 0.1); });
  check("temperature_2", [](std::span<float> l, SampleScratch) { reference::warp_temperature(l, 2); });
  check("top_k_50", [](std::span<float> l, SampleScratch s) { reference::warp_top_k(l, 50, s); });
  check("top_p_0.9", [](std::span<float> l, SampleScratch s) { reference::warp_top_p(l, 0.9, s); });
  check("min_p_0.05", [](std::span<float> l, SampleScratch s) { reference::warp_min_p(l, 0.05, s); });
}

TEMPLATE_LIST_TEST_CASE("the manifest's chain of warpers gives transformers' probabilities", "[parity][sample]",
                        parity_sets::ParitySets) {
  using Set = TestType;
  const auto file = fixture<Set>("ref_decode");
  if (!file) return;
  for (const auto& [name, temperature] :
       {std::pair("seed_manifest_probs_t0.1_k50_p0.9", 0.1), std::pair("probs_t1.5_k50_p0.9", 1.5)})
    for_each_row<Set>(*file, name,
                      [&, t = temperature](const std::vector<float>& row, const std::vector<float>& theirs) {
                        const std::vector<float> got = warped(row, [&](std::span<float> l, SampleScratch s) {
                          REQUIRE(reference::warp(l, {}, {.temperature = t, .top_k = 50, .top_p = 0.9}, s));
                          reference::softmax(l, l);
                        });
                        for (std::size_t i = 0; i < got.size(); ++i) {
                          INFO("token " << i);
                          REQUIRE(std::abs(double{got[i]} - double{theirs[i]}) <= probabilities * double{theirs[i]});
                        }
                      });
}

TEMPLATE_LIST_TEST_CASE("the repetition penalty counts every token of the history once", "[parity][sample]",
                        parity_sets::ParitySets) {
  using Set = TestType;
  const auto file = fixture<Set>("ref_decode");
  if (!file) return;
  std::size_t penalised = 0;
  for_each_row<Set>(*file, "rep_penalty_1.1", [&](const std::vector<float>& row, const std::vector<float>& theirs) {
    // The fixture's history is not stored: it is the set of tokens whose logit changed.
    std::vector<std::int32_t> history;
    for (std::size_t i = 0; i < row.size(); ++i)
      if (row[i] != theirs[i]) history.push_back(static_cast<std::int32_t>(i));
    penalised += history.size();
    const std::vector<std::int32_t> once = history;
    history.insert(history.end(), once.begin(), once.end());
    history.insert(history.end(), {-1, static_cast<std::int32_t>(row.size()), 100000});
    const bool equal = warped(row, [&](std::span<float> l, SampleScratch s) {
                         reference::warp_repetition_penalty(l, history, 1.1, s);
                       }) == theirs;
    CHECK(equal);
  });
  if (file->find("warp.rep_penalty_1.1") != nullptr) CHECK(penalised > 0);
}

TEMPLATE_LIST_TEST_CASE("the largest logit of every step is transformers' greedy token", "[parity][sample]",
                        parity_sets::ParitySets) {
  using Set = TestType;
  const auto file = fixture<Set>("ref_decode");
  if (!file) return;
  constexpr auto vocab = static_cast<std::size_t>(Set::model::vocab_size);
  const std::vector<float> logits = floats(*file, "step_logits");
  const std::vector<std::int32_t> greedy = ids(*file, "greedy_tokens"), prompt = ids(*file, "prompt");
  REQUIRE(logits.size() / vocab >= greedy.size() - prompt.size());
  for (std::size_t step = 0; prompt.size() + step < greedy.size(); ++step)
    CHECK(reference::argmax(row_of(logits, step, vocab)) == greedy[prompt.size() + step]);
}

}  // namespace sample_test
