// A finished answer -> its verdict: by nobody, by the grammar, or by the language's real parser (docs/decisions/0006).
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/grammar_source.hpp"
#include "cli/jobs.hpp"
#include "expert/grammar/automaton.hpp"
#include "expert/grammar/matcher.hpp"
#include "expert/grammar/verdict.hpp"
#include "strict_parser.hpp"

namespace cli {

// "none", "parser" (the grammar, or where there is none that of the language, must accept the whole text) or
// "parser-strict" (the language's real parser must).
class AnswerJudge {
 public:
  // Throws what StrictParser and the grammar's reader throw, and E408 where the language has no grammar.
  AnswerJudge(const std::string& validation, const std::string& language, const GrammarSource& grammar) {
    if (validation == "parser-strict") {
      strict_.emplace(language);
    } else if (validation == "parser") {
      static constexpr std::int32_t end[] = {0};
      automaton_ =
          std::make_unique<GrammarAutomaton>(grammar.constrains() ? grammar.parse() : grammar_source(language).parse());
      no_tokens_ = std::make_unique<Vocabulary>(1, end, [](std::int32_t) { return std::string_view(); });
      masks_ = std::make_unique<TokenMasks>(*automaton_, *no_tokens_);
    }
  }
  // Nothing where nobody judges.
  std::optional<SyntaxVerdict> operator()(const std::string& text) {
    if (strict_) return (*strict_)(text);
    if (!masks_) return std::nullopt;
    GrammarMatcher matcher(*masks_);
    for (std::size_t i = 0; i < text.size(); ++i)
      if (!matcher.accept_text({&text[i], 1})) return SyntaxVerdict{false, "the grammar does not go on so", i};
    if (matcher.is_accepting()) return SyntaxVerdict{true, {}, 0};
    return SyntaxVerdict{false, "the grammar does not end here", text.size()};
  }

 private:
  std::optional<StrictParser> strict_;
  std::unique_ptr<GrammarAutomaton> automaton_;
  std::unique_ptr<Vocabulary> no_tokens_;
  std::unique_ptr<TokenMasks> masks_;
};

}  // namespace cli
