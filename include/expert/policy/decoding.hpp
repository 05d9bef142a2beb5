// Policies of slots `grammar` and `validation`: what a generated text may look like, and who judges it afterwards.
#pragma once
#include <string_view>

#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

// Languages of Grammar<...>.
struct SqlPostgres {
  static constexpr std::string_view grammar_type = "sql-postgres";
};
struct JsonText {
  static constexpr std::string_view grammar_type = "json";
};
struct TypeScript {
  static constexpr std::string_view grammar_type = "typescript";
};
struct Cypher {
  static constexpr std::string_view grammar_type = "cypher";
};

// Every token that the language does not allow is masked.
template <class Language>
struct Grammar {
  using slot = slots::grammar;
  using language = Language;
  static constexpr bool use_grammar = true;
  static constexpr std::string_view grammar_type = Language::grammar_type;
  static constexpr auto describe() {
    return std::array{Field{"/training/decoding/use_grammar", use_grammar},
                      Field{"/training/decoding/grammar_type", grammar_type}};
  }
};

struct NoGrammar {
  using slot = slots::grammar;
  static constexpr bool use_grammar = false;
  static constexpr std::string_view grammar_type = "none";
  static constexpr auto describe() { return std::array{Field{"/training/decoding/use_grammar", use_grammar}}; }
};

// The finished text is parsed by the language's real parser.
struct ParserStrict {
  using slot = slots::validation;
  static constexpr bool needs_language = true;
  static constexpr auto describe() { return std::array{Field{"/training/decoding/validation", "parser-strict"}}; }
};

// The grammar must accept the finished text: of use where it was cut, or where no grammar masks.
struct Parser {
  using slot = slots::validation;
  static constexpr bool needs_language = true;
  static constexpr auto describe() { return std::array{Field{"/training/decoding/validation", "parser"}}; }
};

struct NoValidation {
  using slot = slots::validation;
  static constexpr bool needs_language = false;
  static constexpr auto describe() { return std::array{Field{"/training/decoding/validation", "none"}}; }
};

}  // namespace v0
}  // namespace expert
