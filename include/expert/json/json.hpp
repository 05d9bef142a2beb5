// Text or file -> Json, a tree of values that know their byte offset; Json -> text. Strict RFC 8259 and std only,
// because the library stays under its include budget that way (docs/decisions/0001-own-json-reader.md).
//
// Stricter than RFC 8259 where it leaves a choice: a key may appear once in an object, a number must be representable
// (an integer beyond int64 is read as the nearest double; beyond double's range, 1e400 or 1e-400, is refused), escapes
// may not form lone surrogates, and depth, bytes and the count of values have limits.
#pragma once
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/json/read_file.hpp"
#include "expert/json/value.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode json_syntax{210, "a text is not valid JSON"};
inline constexpr ErrorCode json_encoding{211, "a JSON text is not valid UTF-8"};
inline constexpr ErrorCode json_too_deep{212, "a JSON text nests too deeply"};
inline constexpr ErrorCode json_duplicate_key{213, "a JSON object has a key twice"};
inline constexpr ErrorCode json_number_range{214, "a JSON number is out of range"};
inline constexpr ErrorCode json_too_large{215, "a JSON text is too large"};

// A value takes 48 bytes and may stand for two bytes of text: this bounds the memory of a hostile file at some 400 MiB.
inline constexpr std::int64_t json_max_values = std::int64_t{1} << 23;

namespace detail {

// Containers that are still open are kept on an explicit stack: no input can exhaust the program's own.
class JsonParser {
 public:
  JsonParser(std::string_view text, const std::string& file, const Limits& limits)
      : text_(text), file_(file), limits_(limits) {}

  Json parse() {
    if (text_.starts_with("\xef\xbb\xbf")) fail(json_encoding, 0, "no byte order mark", "", "Save the file without it");
    for (;;) {
      skip_space();
      Json value = begin_value();
      if (entered_) continue;
      for (;;) {  // hand the value to its container, and the container to its own where it ends here
        skip_space();
        if (open_.empty()) {
          if (at_ != text_.size()) fail(json_syntax, at_, "the end of the text");
          return value;
        }
        Frame& frame = open_.back();
        const bool is_object = frame.container.is_object();
        if (is_object)
          object_of(frame.container).members.push_back({std::move(frame.key), std::move(value)});
        else
          frame.container.push(std::move(value));
        const char c = peek();
        if (c == ',') {
          ++at_;
          if (is_object) read_key(frame);
          break;
        }
        if (c != (is_object ? '}' : ']')) fail(json_syntax, at_, is_object ? "\",\" or \"}\"" : "\",\" or \"]\"");
        ++at_;
        value = close(frame);
      }
    }
  }

 private:
  struct Frame {
    Json container;
    std::string key;  // of the member whose value is being read
  };

  static JsonObject& object_of(Json& json) { return *json.object_; }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }

  // at_ stands on the first byte of a value. Reads a scalar or an empty container to its end, or opens a container and
  // sets entered_: then the next value is the first of its items.
  Json begin_value() {
    entered_ = false;
    if (++values_ > json_max_values)
      fail(json_too_large, at_, joined({"at most ", json_max_values, " values"}), "more");
    const std::size_t start = at_;
    const char c = peek();
    Json value;
    if (c == '{' || c == '[') {
      ++at_;
      if (static_cast<std::int64_t>(open_.size()) >= limits_.json_depth)
        fail(json_too_deep, start, joined({"at most ", limits_.json_depth, " levels (Limits::json_depth)"}),
             "one more");
      value = c == '{' ? Json::object() : Json::array();
      value.offset_ = start;
      skip_space();
      if (peek() == (c == '{' ? '}' : ']')) {
        ++at_;
        return value;
      }
      open_.push_back({std::move(value), {}});
      if (c == '{') read_key(open_.back());
      entered_ = true;
      return {};
    }
    if (c == '"')
      value = Json(read_string());
    else if (c == '-' || (c >= '0' && c <= '9'))
      value = read_number();
    else if (literal("true"))
      value = Json(true);
    else if (literal("false"))
      value = Json(false);
    else if (!literal("null"))
      fail(json_syntax, at_, "a JSON value");
    value.offset_ = start;
    return value;
  }

  // Duplicate keys are looked for when the object is complete, all at once: one sort instead of a search per key. The
  // one that is reported is the first in the text.
  Json close(Frame& frame) {
    Json done = std::move(frame.container);
    open_.pop_back();
    if (done.is_object()) {
      if (const Json* repeated = object_of(done).build_index()) {
        std::string_view key;
        for (const auto& [name, value] : done.members())
          if (&value == repeated) key = name;
        fail(json_duplicate_key, repeated->offset(), "each key once", "key " + expert::quoted(key) + " again",
             "Remove one");
      }
    }
    return done;
  }

  void read_key(Frame& frame) {
    skip_space();
    if (peek() != '"') fail(json_syntax, at_, "a key in double quotes");
    frame.key = read_string();
    skip_space();
    if (peek() != ':') fail(json_syntax, at_, "\":\"");
    ++at_;
  }

  bool literal(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  // The grammar is checked here, because from_chars also takes "inf", "1." and ".5"; from_chars then converts exactly
  // and without the locale.
  Json read_number() {
    const std::size_t start = at_;
    const auto digits = [&] {
      const std::size_t first = at_;
      while (peek() >= '0' && peek() <= '9') ++at_;
      if (at_ == first) fail(json_syntax, at_, "a digit");
    };
    if (peek() == '-') ++at_;
    if (peek() == '0') {
      ++at_;
      if (peek() >= '0' && peek() <= '9') fail(json_syntax, at_, "no digit after a leading 0");
    } else {
      digits();
    }
    bool integral = true;
    if (peek() == '.') integral = false, ++at_, digits();
    if (peek() == 'e' || peek() == 'E') {
      integral = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    const char *begin = text_.data() + start, *end = text_.data() + at_;
    if (std::int64_t whole = 0; integral && std::from_chars(begin, end, whole).ec == std::errc{}) return whole;
    double real = 0;
    if (std::from_chars(begin, end, real).ec != std::errc{})
      fail(json_number_range, start, "a number that a double can hold",
           expert::quoted(text_.substr(start, at_ - start)));
    return real;
  }

  // Plain ASCII is copied in runs; only escapes and longer UTF-8 sequences are looked at one by one.
  std::string read_string() {
    const std::size_t start = at_++;
    std::string out;
    for (;;) {
      const std::size_t run = at_;
      while (at_ < text_.size() && is_plain(text_[at_])) ++at_;
      out.append(text_, run, at_ - run);
      if (at_ == text_.size()) fail(json_syntax, start, "a closing double quote", "the end of the text");
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') {
        ++at_;
        return out;
      }
      if (c == '\\') {
        read_escape(out);
      } else if (c < 0x20) {
        fail(json_syntax, at_, "control characters in strings to be escaped");
      } else {
        const std::size_t length = utf8_length(text_, at_);
        if (length == 0) fail(json_encoding, at_, "UTF-8");
        out.append(text_, at_, length);
        at_ += length;
      }
    }
  }
  static bool is_plain(char c) { return c >= 0x20 && c != '"' && c != '\\' && static_cast<unsigned char>(c) < 0x80; }

  // Appends the UTF-8 form. Characters beyond U+FFFF are escaped as two UTF-16 halves, which must be a pair.
  void read_escape(std::string& out) {
    const std::size_t start = at_++;
    const char c = peek();
    constexpr std::string_view names = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    if (const std::size_t k = names.find(c); k != names.npos) {
      ++at_;
      out += meanings[k];
      return;
    }
    if (c != 'u')
      fail(json_syntax, start, "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u", expert::quoted(text_.substr(start, 2)));
    std::uint32_t code = read_hex4();
    if (code >= 0xd800 && code < 0xdc00) {  // the first half of a pair
      const bool escape_follows = text_.substr(at_, 2) == "\\u";
      if (escape_follows) ++at_;
      const std::uint32_t low = escape_follows ? read_hex4() : 0;
      if (low < 0xdc00 || low > 0xdfff) fail(json_encoding, start, "surrogates in pairs", "a lone high surrogate");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code < 0xe000) {
      fail(json_encoding, start, "surrogates in pairs", "a lone low surrogate");
    }
    const auto byte = [&](std::uint32_t bits) { out += static_cast<char>(bits); };
    const auto tail = [&](int shift) { byte(0x80u | ((code >> shift) & 0x3fu)); };
    if (code < 0x80) {
      byte(code);
    } else if (code < 0x800) {
      byte(0xc0u | code >> 6), tail(0);
    } else if (code < 0x10000) {
      byte(0xe0u | code >> 12), tail(6), tail(0);
    } else {
      byte(0xf0u | code >> 18), tail(12), tail(6), tail(0);
    }
  }

  std::uint32_t read_hex4() {  // at_ stands on the u
    std::uint32_t code = 0;
    const std::string_view hex = text_.substr(at_ + 1, 4);
    if (std::from_chars(hex.data(), hex.data() + hex.size(), code, 16).ptr != hex.data() + 4 || hex.front() == '-')
      fail(json_syntax, at_ - 1, "four hexadecimal digits after \\u", expert::quoted(text_.substr(at_ - 1, 6)));
    at_ += 5;
    return code;
  }

  // Lines and columns are counted only here, when the text is known to be wrong.
  [[noreturn]] void fail(ErrorCode code, std::size_t at, std::string expected, std::string got = "",
                         std::string fix = "") const {
    if (got.empty() && code == json_syntax)
      got = at < text_.size() ? expert::quoted(text_.substr(at, 1)) : "the end of the text";
    if (got.empty()) got = expert::quoted(text_.substr(at, 4));
    std::size_t line = 1, column = 1;
    for (std::size_t i = 0; i < at; ++i) {
      if (text_[i] == '\n')
        ++line, column = 1;
      else
        column += (static_cast<unsigned char>(text_[i]) & 0xc0u) != 0x80u;  // characters, as editors count
    }
    throw Error(code, {.file = file_,
                       .where = joined({"line ", line, ", column ", column, " (offset ", at, ")"}),
                       .expected = std::move(expected),
                       .got = std::move(got),
                       .fix = std::move(fix)});
  }

  std::string_view text_;
  const std::string& file_;
  const Limits& limits_;
  std::size_t at_ = 0;
  std::int64_t values_ = 0;
  bool entered_ = false;
  std::vector<Frame> open_;
};

}  // namespace detail

// `file` is only named in messages. Throws E210 ... E215; E215 where the text has more than max_bytes.
inline Json parse_json(std::string_view text, const std::string& file, std::int64_t max_bytes,
                       const Limits& limits = default_limits) {
  if (std::cmp_greater(text.size(), max_bytes))
    throw Error(json_too_large, {.file = file,
                                 .where = {},
                                 .expected = joined({"at most ", max_bytes, " bytes"}),
                                 .got = joined({text.size()}),
                                 .fix = {}});
  return detail::JsonParser(text, file, limits).parse();
}

// Throws E200 ... E202 where the file cannot be read or is too large, else what parse_json throws.
inline Json read_json(const std::string& path, std::int64_t max_bytes, const Limits& limits = default_limits) {
  return parse_json(read_file(path, max_bytes), path, max_bytes, limits);
}

}  // namespace v0
}  // namespace expert
