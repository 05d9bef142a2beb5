// Json: a JSON value as a tree; made by json/json.hpp from text, or in code; written as text by dump().
#pragma once
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/sort.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode json_wrong_kind{216, "a JSON value is of another kind than expected"};
inline constexpr ErrorCode json_not_writable{217, "a value cannot be written as JSON"};

struct JsonMember;
namespace detail {
struct JsonObject;
class JsonParser;
}  // namespace detail

class Json {
 public:
  using Array = std::vector<Json>;
  using Members = std::vector<JsonMember>;

  Json() noexcept {}  // null
  Json(std::nullptr_t) noexcept {}
  template <std::same_as<bool> B>
  Json(B value) noexcept : kind_(Kind::boolean) {
    boolean_ = value;
  }
  // Integers stay exact in int64; a larger unsigned one becomes a double, as when it is read.
  template <std::integral I>
    requires(!std::same_as<I, bool>)
  Json(I value) noexcept : kind_(std::in_range<std::int64_t>(value) ? Kind::integer : Kind::real) {
    if (kind_ == Kind::integer)
      integer_ = static_cast<std::int64_t>(value);
    else
      real_ = static_cast<double>(value);
  }
  template <std::floating_point F>
  Json(F value) noexcept : kind_(Kind::real) {
    real_ = static_cast<double>(value);
  }
  Json(std::string value) noexcept : kind_(Kind::string) { new (&string_) std::string(std::move(value)); }
  Json(std::string_view value) : Json(std::string(value)) {}
  Json(const char* value) : Json(std::string(value)) {}
  static Json object();
  static Json array() {
    Json json;
    json.become_array();
    return json;
  }
  Json(Json&& other) noexcept { take(other); }
  Json& operator=(Json&& other) noexcept {
    Json old;  // `other` may lie within this value
    old.take(*this);
    take(other);
    return *this;
  }
  inline Json(const Json& other);
  Json& operator=(const Json& other) { return *this = Json(other); }
  ~Json() { clear(); }

  bool is_null() const { return kind_ == Kind::null; }
  bool is_bool() const { return kind_ == Kind::boolean; }
  bool is_string() const { return kind_ == Kind::string; }
  bool is_array() const { return kind_ == Kind::array; }
  bool is_object() const { return kind_ == Kind::object; }
  bool is_number() const { return kind_ == Kind::integer || kind_ == Kind::real; }
  // 12 and 12.0 are integers, as in JSON Schema. A double counts up to 2^53: above, it may not be the number in the
  // text. So 2^63, which int64 cannot hold, is a number but not an integer.
  bool is_integer() const {
    if (kind_ == Kind::real) return std::abs(real_) <= 0x1p53 && real_ == std::trunc(real_);
    return kind_ == Kind::integer;
  }

  // Written without fraction or exponent and within int64: for binary formats, whose other readers refuse 12.0.
  bool is_int64() const { return kind_ == Kind::integer; }

  // Throw E216 with the offset where the value is of another kind. A caller that knows the JSON pointer asks is_...()
  // first.
  bool as_bool() const {
    require(Kind::boolean, "true or false");
    return boolean_;
  }
  std::int64_t as_int() const {
    if (kind_ == Kind::real && is_integer()) return static_cast<std::int64_t>(real_);
    require(Kind::integer, "an integer");
    return integer_;
  }
  double as_double() const {
    if (kind_ == Kind::integer) return static_cast<double>(integer_);
    require(Kind::real, "a number");
    return real_;
  }
  const std::string& as_string() const {
    require(Kind::string, "a string");
    return string_;
  }
  const Array& items() const {
    require(Kind::array, "an array");
    return array_;
  }
  inline const Members& members() const;  // in the order of the text

  // The member, or null where there is none or this is no object. O(log n).
  inline const Json* find(std::string_view key) const;
  // The value at an RFC 6901 pointer ("" is this value, "/a/0" the first item of a), or null where it leads nowhere.
  const Json* at_pointer(std::string_view pointer) const;

  // Replaces the member or appends it. A null value becomes an object first. Throws E216 on other kinds.
  inline Json& set(std::string_view key, Json value);
  // Appends an item. A null value becomes an array first. Throws E216 on other kinds.
  // noinline: g++ 12 would warn of the union's unset members in every caller.
  [[gnu::noinline]] Json& push(Json value) {
    if (is_null()) become_array();
    require(Kind::array, "an array");
    array_.push_back(std::move(value));
    return *this;
  }

  // Compact, or one item per line with `indent` spaces. Doubles are the shortest text that reads back to the same bits,
  // with
  // ".0" where it would look like an integer. Throws E217 on NaN, infinity and strings that are not UTF-8.
  std::string dump(int indent = -1) const;

  std::size_t offset() const { return offset_; }  // of the value's first byte in the text; 0 for values made in code
  // "an object", "the number 3", "the string "x"", for messages.
  std::string described() const;

 private:
  friend class detail::JsonParser;
  enum class Kind : std::uint8_t { null, boolean, integer, real, string, array, object };

  void become_array() noexcept {  // from null
    kind_ = Kind::array;
    new (&array_) Array();
  }
  inline void take(Json& other) noexcept;  // into a null value; other becomes null
  inline void clear() noexcept;
  void require(Kind kind, const char* expected) const {
    if (kind_ != kind) wrong_kind(expected);
  }
  [[noreturn]] void wrong_kind(const char* expected) const {
    throw Error(json_wrong_kind,
                {.where = joined({"offset ", offset_}), .expected = expected, .got = described(), .fix = {}});
  }

  // A union by hand: std::variant costs a tenth of the include budget.
  union {
    bool boolean_;
    std::int64_t integer_;
    double real_;
    std::string string_;
    Array array_;
    detail::JsonObject* object_;
  };
  Kind kind_ = Kind::null;
  std::size_t offset_ = 0;
};

// A key of an object and its value.
struct JsonMember {
  std::string first;
  Json second;
};
static_assert(std::is_nothrow_move_constructible_v<JsonMember>,
              "vectors of members would copy whole trees when they grow");

namespace detail {

struct JsonObject {
  // Members in sorted order, kept where a scan would be slow. Sorting, unlike hashing, has no input that makes it
  // quadratic. `prefix` holds the first eight bytes of the key, so that most comparisons touch no string.
  struct Entry {
    std::uint64_t prefix;
    std::uint32_t member;
  };
  static constexpr std::size_t scanned = 12;  // up to so many members are found by a scan and need no index

  std::vector<JsonMember> members;
  std::vector<Entry> index;  // empty where there is none

  static std::uint64_t prefix_of(std::string_view key) {
    std::uint64_t prefix = 0;
    for (std::size_t i = 0; i < 8; ++i)
      prefix = prefix << 8 | (i < key.size() ? static_cast<unsigned char>(key[i]) : 0u);
    return prefix;
  }

  // The place in the index where `key` stands or would stand. Order: prefix, then whole key, both as unsigned bytes.
  std::size_t lower_bound(std::string_view key) const {
    const std::uint64_t prefix = prefix_of(key);
    std::size_t begin = 0;
    for (std::size_t end = index.size(); begin < end;) {
      const std::size_t middle = begin + (end - begin) / 2;
      const Entry& entry = index[middle];
      if (entry.prefix != prefix ? entry.prefix < prefix : key.compare(members[entry.member].first) > 0)
        begin = middle + 1;
      else
        end = middle;
    }
    return begin;
  }

  const Json* find(std::string_view key) const {
    if (index.empty()) {
      for (const JsonMember& member : members)
        if (key.compare(member.first) == 0) return &member.second;
      return nullptr;
    }
    const std::size_t at = lower_bound(key);
    if (at == index.size()) return nullptr;
    const JsonMember& member = members[index[at].member];
    return key.compare(member.first) == 0 ? &member.second : nullptr;
  }

  void append(std::string key, Json value) {  // the key must be new
    if (!index.empty()) {
      const Entry entry{prefix_of(key), static_cast<std::uint32_t>(members.size())};
      index.insert(index.begin() + static_cast<std::ptrdiff_t>(lower_bound(key)), entry);
    }
    members.push_back({std::move(key), std::move(value)});
    if (index.empty() && members.size() > scanned) build_index();
  }

  // Returns the first value, by offset, whose key was there before.
  const Json* build_index() {
    const Json* repeated = nullptr;
    const auto check = [&](std::size_t a, std::size_t b) {
      const Json* later = &members[a > b ? a : b].second;
      if (members[a].first == members[b].first && (!repeated || later->offset() < repeated->offset())) repeated = later;
    };
    if (members.size() <= scanned) {
      for (std::size_t i = 1; i < members.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) check(i, j);
      return repeated;
    }
    index.clear();
    index.reserve(members.size());
    for (const JsonMember& member : members)
      index.push_back({prefix_of(member.first), static_cast<std::uint32_t>(index.size())});
    sort_list(index, [&](const Entry& a, const Entry& b) {
      if (a.prefix != b.prefix) return a.prefix < b.prefix;
      const int order = members[a.member].first.compare(members[b.member].first);
      return order != 0 ? order < 0 : a.member < b.member;
    });
    for (std::size_t i = 1; i < index.size(); ++i) check(index[i - 1].member, index[i].member);
    return repeated;
  }
};

// Length of the well-formed UTF-8 sequence at text[i] (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF),
// or 0.
inline std::size_t utf8_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) { return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u; };
  const auto tail = [&](std::size_t k) { return (byte(k) & 0xc0u) == 0x80u; };
  const unsigned a = byte(0), b = byte(1);
  if (a < 0x80) return 1;
  if (a < 0xc2 || a > 0xf4 || !tail(1)) return 0;
  if (a < 0xe0) return 2;
  if (a < 0xf0) return tail(2) && !(a == 0xe0 && b < 0xa0) && !(a == 0xed && b >= 0xa0) ? 3 : 0;
  return tail(2) && tail(3) && !(a == 0xf0 && b < 0x90) && !(a == 0xf4 && b >= 0x90) ? 4 : 0;
}

inline void dump_string(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    const char c = text[i];
    if (length == 0)
      throw Error(json_not_writable,
                  {.file = {}, .where = {}, .expected = "strings in UTF-8", .got = expert::quoted(text), .fix = {}});
    constexpr std::string_view plain = "\"\\\b\f\n\r\t", names = "\"\\bfnrt";
    if (const std::size_t k = plain.find(c); k != plain.npos) {
      out += '\\', out += names[k];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr std::string_view hex = "0123456789abcdef";
      out += "\\u00", out += hex[static_cast<unsigned char>(c) >> 4], out += hex[c & 15];
    } else {
      out.append(text, i, length);
    }
    i += length;
  }
  out += '"';
}

}  // namespace detail

// g++ 12 does not see that kind_ says which member is set.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
inline void Json::take(Json& other) noexcept {
  switch (other.kind_) {
    case Kind::null:
      break;
    case Kind::boolean:
      boolean_ = other.boolean_;
      break;
    case Kind::integer:
      integer_ = other.integer_;
      break;
    case Kind::real:
      real_ = other.real_;
      break;
    case Kind::string:
      new (&string_) std::string(std::move(other.string_));
      break;
    case Kind::array:
      new (&array_) Array(std::move(other.array_));
      break;
    case Kind::object:
      object_ = std::exchange(other.object_, nullptr);
      break;
  }
  kind_ = other.kind_;
  offset_ = other.offset_;
  other.clear();
}
inline void Json::clear() noexcept {
  if (kind_ == Kind::string) string_.~basic_string();
  if (kind_ == Kind::array) array_.~vector();
  if (kind_ == Kind::object) delete object_;
  kind_ = Kind::null;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
inline Json::Json(const Json& other) : offset_(other.offset_) {
  switch (other.kind_) {
    case Kind::null:
      break;
    case Kind::boolean:
      boolean_ = other.boolean_;
      break;
    case Kind::integer:
      integer_ = other.integer_;
      break;
    case Kind::real:
      real_ = other.real_;
      break;
    case Kind::string:
      new (&string_) std::string(other.string_);
      break;
    case Kind::array:
      new (&array_) Array(other.array_);
      break;
    case Kind::object:
      object_ = new detail::JsonObject(*other.object_);
      break;
  }
  kind_ = other.kind_;  // last: nothing is destroyed where a copy throws
}
inline Json Json::object() {
  Json json;
  json.object_ = new detail::JsonObject;
  json.kind_ = Kind::object;
  return json;
}
inline const Json::Members& Json::members() const {
  require(Kind::object, "an object");
  return object_->members;
}
inline const Json* Json::find(std::string_view key) const {
  return kind_ == Kind::object ? object_->find(key) : nullptr;
}
inline Json& Json::set(std::string_view key, Json value) {
  if (is_null()) *this = object();
  require(Kind::object, "an object");
  if (const Json* found = object_->find(key))
    const_cast<Json&>(*found) = std::move(value);  // find() serves the const interface; the member is ours
  else
    object_->append(std::string(key), std::move(value));
  return *this;
}

inline const Json* Json::at_pointer(std::string_view pointer) const {
  const Json* at = this;
  while (at && !pointer.empty()) {
    if (pointer.front() != '/') return nullptr;
    pointer.remove_prefix(1);
    const std::string_view token = pointer.substr(0, pointer.find('/'));
    pointer.remove_prefix(token.size());
    if (at->is_array()) {
      std::size_t i = 0;
      const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), i);
      const bool is_index = error == std::errc{} && end == token.data() + token.size() && (token[0] != '0' || i == 0);
      if (!is_index || (i == 0 && token.size() > 1) || i >= at->items().size()) return nullptr;
      at = &at->items()[i];
      continue;
    }
    std::string key;
    for (std::size_t i = 0; i < token.size(); ++i) {
      if (token[i] != '~') {
        key += token[i];
      } else {
        if (++i == token.size() || (token[i] != '0' && token[i] != '1')) return nullptr;
        key += token[i] == '0' ? '~' : '/';
      }
    }
    at = at->find(key);
  }
  return at;
}

// Like the reader, without recursion: `levels` holds the containers that are open and the next item of each.
inline std::string Json::dump(int indent) const {
  struct Level {
    const Json* container;
    std::size_t next;
  };
  std::string out;
  std::vector<Level> levels;
  const auto new_line = [&](std::size_t depth) {
    if (indent >= 0) out += '\n', out.append(depth * static_cast<std::size_t>(indent), ' ');
  };
  const auto begin = [&](const Json& json) {
    if (json.is_object() || json.is_array()) {
      out += json.is_object() ? '{' : '[';
      levels.push_back({&json, 0});
    } else if (json.is_string()) {
      detail::dump_string(out, json.as_string());
    } else if (json.is_number()) {
      const bool real = json.kind_ == Kind::real;
      if (real && !std::isfinite(json.real_))
        throw Error(json_not_writable,
                    {.file = {}, .where = {}, .expected = "finite numbers", .got = "NaN or infinity", .fix = {}});
      char text[32];
      const char* end = real ? std::to_chars(text, text + sizeof text, json.real_).ptr
                             : std::to_chars(text, text + sizeof text, json.integer_).ptr;
      const std::string_view number(text, static_cast<std::size_t>(end - text));
      out += number;
      if (real && number.find_first_of(".e") == number.npos) out += ".0";
    } else {
      out += json.is_null() ? "null" : json.as_bool() ? "true" : "false";
    }
  };
  begin(*this);
  while (!levels.empty()) {
    Level& level = levels.back();
    const bool is_object = level.container->is_object();
    const std::size_t count = is_object ? level.container->members().size() : level.container->items().size();
    if (level.next == count) {
      levels.pop_back();
      if (count > 0) new_line(levels.size());
      out += is_object ? '}' : ']';
      continue;
    }
    if (level.next > 0) out += ',';
    new_line(levels.size());
    const std::size_t i = level.next++;
    if (is_object) {
      detail::dump_string(out, level.container->members()[i].first);
      out += indent >= 0 ? ": " : ":";
    }
    begin(is_object ? level.container->members()[i].second : level.container->items()[i]);
  }
  return out;
}

inline std::string Json::described() const {
  if (is_object()) return "an object";
  if (is_array()) return "an array";
  if (is_string()) return "the string " + expert::quoted(as_string());
  if (is_number()) return "the number " + (kind_ == Kind::real && !std::isfinite(real_) ? "NaN or infinity" : dump());
  return dump();
}

}  // namespace v0
}  // namespace expert
