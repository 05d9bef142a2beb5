// The text of a manifest -> the same text with one top-level member replaced or added; everything else keeps its place
// and its spelling.
#pragma once
#include <string>
#include <string_view>

#include "expert/core/limits.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/json/json.hpp"
#include "expert/json/read_file.hpp"

namespace cli {

using namespace expert;

namespace detail {

// Where the JSON value that begins at `at` ends, in a text that was parsed.
inline std::size_t end_of_value(std::string_view text, std::size_t at) {
  int depth = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"')
      for (++at; text[at] != '"'; ++at) at += text[at] == '\\';
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    const bool ends = depth == 0 && (c == '"' || c == '}' || c == ']');
    if (ends) return at + 1;
    if (depth < 0 || (depth == 0 && (c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t'))) return at;
  }
  return at;
}

}  // namespace detail

// Throws what parse_json throws. Indented by two spaces, as our manifests are.
inline std::string with_member(const std::string& text, const std::string& file, const std::string& key,
                               const Json& value) {
  const Json json = parse_json(text, file, default_limits.manifest_bytes);
  std::string dumped;
  for (const char c : value.dump(2)) {
    dumped += c;
    if (c == '\n') dumped += "  ";
  }
  if (const Json* old = json.find(key)) {
    const std::size_t at = old->offset();
    return text.substr(0, at) + dumped + text.substr(detail::end_of_value(text, at));
  }
  const std::size_t brace = text.find_last_of('}'), last = text.find_last_not_of(" \t\r\n", brace - 1);
  std::string out = text.substr(0, last + 1);
  out.append(json.members().empty() ? "" : ",").append("\n  \"").append(key).append("\": ").append(dumped);
  return out.append("\n").append(text.substr(brace));
}

inline void set_member(const std::string& file, const std::string& key, const Json& value) {
  const std::string text = with_member(read_file(file, default_limits.manifest_bytes), file, key, value);
  AtomicFile out(file);
  out.write(text);
  out.commit();
}

}  // namespace cli
