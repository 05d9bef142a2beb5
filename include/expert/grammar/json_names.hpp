// A JSON text as it grows -> whether an object gets a name twice. No context-free grammar can say that, and readers
// differ on what such an object holds (RFC 8259, section 4).
#pragma once
#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/json/json.hpp"

namespace expert {
inline namespace v0 {

// Reads what a grammar of JSON allows; of any other text it says nothing that could be relied upon.
class JsonNames {
 public:
  // Reads on. False where a name ends in these bytes that its object has already: "a" and "\u0061" are the same.
  bool add(std::string_view bytes) {
    bool fresh = true;
    for (const char c : bytes) {
      if (in_string_)
        fresh &= add_to_string(c);
      else
        add_outside(c);
    }
    return fresh;
  }
  // What add() would say.
  bool would_be_fresh(std::string_view bytes) const {
    return bytes.find('"') == std::string_view::npos || JsonNames(*this).add(bytes);
  }

 private:
  struct Level {
    bool is_object;
    std::vector<std::string> names;  // in order
  };

  void add_outside(char c) {
    if (c == '{' || c == '[') {
      open_.push_back({c == '{', {}});
      name_comes_ = c == '{';
    } else if (c == '}' || c == ']') {
      if (!open_.empty()) open_.pop_back();
      name_comes_ = false;
    } else if (c == ',') {
      name_comes_ = !open_.empty() && open_.back().is_object;
    } else if (c == '"') {
      in_string_ = true;
      string_.clear();
    }
  }
  bool add_to_string(char c) {
    const bool ends = c == '"' && !escaped_;
    escaped_ = c == '\\' && !escaped_;
    if (!ends) {
      if (name_comes_) string_ += c;
      return true;
    }
    in_string_ = false;
    if (!std::exchange(name_comes_, false)) return true;
    std::string name = unescaped(string_);
    std::vector<std::string>& names = open_.back().names;
    const auto at = std::lower_bound(names.begin(), names.end(), name);
    if (at != names.end() && *at == name) return false;
    names.insert(at, std::move(name));
    return true;
  }
  static std::string unescaped(const std::string& name) {
    if (name.find('\\') == std::string::npos) return name;
    const std::string quoted = "\"" + name + "\"";
    try {
      return parse_json(quoted, {}, std::ssize(quoted)).as_string();
    } catch (const Error&) {
      return name;
    }
  }

  std::vector<Level> open_;
  std::string string_;  // as it is written, where it is a name
  bool in_string_ = false, escaped_ = false, name_comes_ = false;
};

}  // namespace v0
}  // namespace expert
