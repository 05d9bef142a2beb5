// A name on the command line -> a grammar: a type that this program knows, a GBNF file, a JSON Schema, or none.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "cli/common.hpp"
#include "cli/jobs.hpp"
#include "expert/core/limits.hpp"
#include "expert/json/read_file.hpp"
#include "grammar_texts.hpp"

namespace cli {

inline constexpr ErrorCode unknown_grammar{408, "there is no grammar of this name"};

inline GrammarSource grammar_file(const std::string& path) {
  return {path, read_file(path, default_limits.grammar_bytes), path.ends_with(".json")};
}

// "none", a type, or a file: *.json is a JSON Schema, any other GBNF. Throws E408, E200 to E203.
inline GrammarSource grammar_source(const std::string& name) {
  if (name == "none") return {};
  for (const GrammarText& known : grammar_texts)
    if (known.type == name) return {name, std::string(known.text), false, true};
  if (std::filesystem::exists(name)) return grammar_file(name);
  std::string types;
  for (const GrammarText& known : grammar_texts) append(types, {known.type, ", "});
  throw Error(unknown_grammar, {.where = "--grammar",
                                .expected = types + "none, or a file",
                                .got = expert::quoted(name, 200),
                                .fix = "Name one of these types, or a file of GBNF or JSON Schema (*.json)"});
}

}  // namespace cli
