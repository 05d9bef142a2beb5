// Json: a JSON value as a tree; made by json/json.hpp from text, or in code; written as text by dump().
#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "expert/core/error.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode json_wrong_kind{216, "a JSON value is of another kind than expected"};
inline constexpr ErrorCode json_not_writable{217, "a value cannot be written as JSON"};

class Json;
namespace detail {

struct JsonObject {
  // Members in sorted order, kept where a scan would be slow. Sorting, unlike hashing, has no input that makes it
  // quadratic. `prefix` holds the first eight bytes of the key, so that most comparisons touch no string.
  struct Entry {
    std::uint64_t prefix;
    std::uint32_t member;
  };
  static constexpr std::size_t scanned = 12;  // up to so many members are found by a scan and need no index

  std::vector<std::pair<std::string, Json>> members;
  std::unique_ptr<std::vector<Entry>> index;

  JsonObject() = default;
  JsonObject(JsonObject&&) noexcept = default;
  JsonObject& operator=(JsonObject&&) noexcept = default;
  inline JsonObject(const JsonObject& other);
  inline JsonObject& operator=(const JsonObject& other);
  inline ~JsonObject();

  static std::uint64_t prefix_of(std::string_view key) {
    std::uint64_t prefix = 0;
    for (std::size_t i = 0; i < 8; ++i)
      prefix = prefix << 8 | (i < key.size() ? static_cast<unsigned char>(key[i]) : 0u);
    return prefix;
  }
  inline std::vector<Entry>::iterator lower_bound(std::string_view key) const;
  inline const Json* find(std::string_view key) const;
  inline void append(std::string key, Json value);  // the key must be new
  inline const Json* build_index();                 // returns the first value, by offset, whose key was there before
};

class JsonParser;

}  // namespace detail

class Json {
 public:
  using Array = std::vector<Json>;
  using Members = std::vector<std::pair<std::string, Json>>;

  Json() = default;  // null
  Json(std::nullptr_t) {}
  template <std::same_as<bool> B>
  Json(B value) : value_(value) {}
  // Integers stay exact in int64; a larger unsigned one becomes a double, as when it is read.
  template <std::integral I>
    requires(!std::same_as<I, bool>)
  Json(I value) {
    if (std::in_range<std::int64_t>(value))
      value_ = static_cast<std::int64_t>(value);
    else
      value_ = static_cast<double>(value);
  }
  template <std::floating_point F>
  Json(F value) : value_(static_cast<double>(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(const char* value) : value_(std::string(value)) {}
  static Json object() { return Json(detail::JsonObject{}); }
  static Json array() { return Json(Array{}); }

  bool is_null() const { return holds<std::monostate>(); }
  bool is_bool() const { return holds<bool>(); }
  bool is_string() const { return holds<std::string>(); }
  bool is_array() const { return holds<Array>(); }
  bool is_object() const { return holds<detail::JsonObject>(); }
  bool is_number() const { return holds<std::int64_t>() || holds<double>(); }
  // 12 and 12.0 are integers, as in JSON Schema. A double counts up to 2^53: above, it may not be the number in the
  // text. So 2^63, which int64 cannot hold, is a number but not an integer.
  bool is_integer() const {
    if (const double* x = std::get_if<double>(&value_)) return std::abs(*x) <= 0x1p53 && *x == std::trunc(*x);
    return holds<std::int64_t>();
  }

  // Written without fraction or exponent and within int64: for binary formats, whose other readers refuse 12.0.
  bool is_int64() const { return holds<std::int64_t>(); }

  // Throw E216 with the offset where the value is of another kind. A caller that knows the JSON pointer asks is_...()
  // first.
  bool as_bool() const { return get<bool>("true or false"); }
  std::int64_t as_int() const {
    if (holds<double>() && is_integer()) return static_cast<std::int64_t>(std::get<double>(value_));
    return get<std::int64_t>("an integer");
  }
  double as_double() const {
    if (const std::int64_t* i = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*i);
    return get<double>("a number");
  }
  const std::string& as_string() const { return get<std::string>("a string"); }
  const Array& items() const { return get<Array>("an array"); }
  const Members& members() const { return get<detail::JsonObject>("an object").members; }  // in the order of the text

  // The member, or null where there is none or this is no object. O(log n).
  const Json* find(std::string_view key) const {
    const auto* object = std::get_if<detail::JsonObject>(&value_);
    return object ? object->find(key) : nullptr;
  }
  // The value at an RFC 6901 pointer ("" is this value, "/a/0" the first item of a), or null where it leads nowhere.
  const Json* at_pointer(std::string_view pointer) const;

  // Replaces the member or appends it. A null value becomes an object first. Throws E216 on other kinds.
  // noinline, here and below: g++ 12 would warn of the variant's unset alternatives in every caller.
  [[gnu::noinline]] Json& set(std::string_view key, Json value) {
    if (is_null()) value_ = detail::JsonObject{};
    auto* object = std::get_if<detail::JsonObject>(&value_);
    if (!object) wrong_kind("an object");
    if (const Json* found = object->find(key))
      const_cast<Json&>(*found) = std::move(value);  // find() serves the const interface; the member is ours
    else
      object->append(std::string(key), std::move(value));
    return *this;
  }
  // Appends an item. A null value becomes an array first. Throws E216 on other kinds.
  [[gnu::noinline]] Json& push(Json value) {
    if (is_null()) value_ = Array{};
    auto* array = std::get_if<Array>(&value_);
    if (!array) wrong_kind("an array");
    array->push_back(std::move(value));
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
  explicit Json(detail::JsonObject object) : value_(std::move(object)) {}
  explicit Json(Array array) : value_(std::move(array)) {}

  template <class T>
  bool holds() const {
    return std::holds_alternative<T>(value_);
  }
  template <class T>
  const T& get(const char* expected) const {
    if (const T* value = std::get_if<T>(&value_)) return *value;
    wrong_kind(expected);
  }
  [[noreturn]] void wrong_kind(const char* expected) const {
    throw Error(json_wrong_kind, {.file = {},
                                  .where = "offset " + std::to_string(offset_),
                                  .expected = expected,
                                  .got = described(),
                                  .fix = {}});
  }

  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, detail::JsonObject> value_;
  std::size_t offset_ = 0;
};
static_assert(std::is_nothrow_move_constructible_v<Json>, "vectors of Json would copy whole trees when they grow");

namespace detail {

inline JsonObject::JsonObject(const JsonObject& other)
    : members(other.members), index(other.index ? std::make_unique<std::vector<Entry>>(*other.index) : nullptr) {}
inline JsonObject& JsonObject::operator=(const JsonObject& other) {
  JsonObject copy(other);
  return *this = std::move(copy);
}
inline JsonObject::~JsonObject() = default;

// The place in the index where `key` stands or would stand. Order: prefix, then whole key, both as unsigned bytes.
inline std::vector<JsonObject::Entry>::iterator JsonObject::lower_bound(std::string_view key) const {
  const std::uint64_t prefix = prefix_of(key);
  return std::lower_bound(index->begin(), index->end(), key, [&](const Entry& entry, std::string_view wanted) {
    return entry.prefix != prefix ? entry.prefix < prefix : members[entry.member].first < wanted;
  });
}

inline const Json* JsonObject::find(std::string_view key) const {
  if (!index) {
    for (const auto& [name, value] : members)
      if (name == key) return &value;
    return nullptr;
  }
  const auto at = lower_bound(key);
  return at != index->end() && members[at->member].first == key ? &members[at->member].second : nullptr;
}

inline void JsonObject::append(std::string key, Json value) {
  if (index) index->insert(lower_bound(key), {prefix_of(key), static_cast<std::uint32_t>(members.size())});
  members.emplace_back(std::move(key), std::move(value));
  if (!index && members.size() > scanned) build_index();
}

inline const Json* JsonObject::build_index() {
  const Json* repeated = nullptr;
  const auto check = [&](std::size_t a, std::size_t b) {
    const Json* later = &members[std::max(a, b)].second;
    if (members[a].first == members[b].first && (!repeated || later->offset() < repeated->offset())) repeated = later;
  };
  if (members.size() <= scanned) {
    for (std::size_t i = 1; i < members.size(); ++i)
      for (std::size_t j = 0; j < i; ++j) check(i, j);
    return repeated;
  }
  index = std::make_unique<std::vector<Entry>>();
  index->reserve(members.size());
  for (const auto& [key, value] : members)
    index->push_back({prefix_of(key), static_cast<std::uint32_t>(index->size())});
  std::sort(index->begin(), index->end(), [&](const Entry& a, const Entry& b) {
    if (a.prefix != b.prefix) return a.prefix < b.prefix;
    const int order = members[a.member].first.compare(members[b.member].first);
    return order != 0 ? order < 0 : a.member < b.member;
  });
  for (std::size_t i = 1; i < index->size(); ++i) check((*index)[i - 1].member, (*index)[i].member);
  return repeated;
}

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
      const double* real = std::get_if<double>(&json.value_);
      if (real && !std::isfinite(*real))
        throw Error(json_not_writable,
                    {.file = {}, .where = {}, .expected = "finite numbers", .got = "NaN or infinity", .fix = {}});
      char text[32];
      const char* end = real ? std::to_chars(text, text + sizeof text, *real).ptr
                             : std::to_chars(text, text + sizeof text, std::get<std::int64_t>(json.value_)).ptr;
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
  if (is_number()) return "the number " + (holds<double>() && !std::isfinite(as_double()) ? "NaN or infinity" : dump());
  return dump();
}

}  // namespace v0
}  // namespace expert
