// The text of a grammar and a directory of caches -> GrammarAutomaton, compiled once for all runs.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "expert/core/image.hpp"
#include "expert/grammar/automaton.hpp"
#include "expert/grammar/gbnf.hpp"
#include "expert/io/cache_file.hpp"
#include "expert/io/made_once.hpp"
#include "expert/io/mapped_file.hpp"

namespace expert {
inline namespace v0 {

struct CachedAutomaton {
  GrammarAutomaton automaton;
  std::string note;  // what became of the cache, as a line for the user; empty where the automaton came from it
};

// As GrammarAutomaton(parse_gbnf(text, file)), which says what is thrown. The key is of the text. `directory` empty:
// nothing is kept.
inline CachedAutomaton cached_automaton(std::string_view text, const std::string& file, const std::string& directory) {
  const auto compile = [&] { return GrammarAutomaton(parse_gbnf(text, file)); };
  if (directory.empty()) return {compile(), {}};
  const std::string key = content_key("gbnf 1", {std::as_bytes(std::span(text))});
  return made_once<CachedAutomaton>(
      compiled_grammars, directory, key, joined({"grammar ", file, ": compiled"}),
      [](const ImageReader& image, const MappedFile&) { return GrammarAutomaton::load(image); }, compile,
      [](const GrammarAutomaton& automaton, ImageWriter& image) { automaton.save(image); });
}

}  // namespace v0
}  // namespace expert
