// A JSON object -> its members as C++ values, each checked for presence, kind and range; errors name the JSON pointer.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/json/value.hpp"

namespace expert {
inline namespace v0 {

// The numbers under which one kind of file reports its fields.
struct FieldCodes {
  ErrorCode missing, wrong_kind, out_of_range;
};

// A view: `object` must outlive it. A member that is null counts as absent.
class Fields {
 public:
  // Throws codes.wrong_kind where the value is no object. `pointer` is where it stands in the file, "" for all of it.
  Fields(const Json& object, std::string file, std::string pointer, const FieldCodes& codes)
      : object_(object), file_(std::move(file)), pointer_(std::move(pointer)), codes_(codes) {
    if (!object.is_object())
      throw Error(codes_.wrong_kind, {.file = file_,
                                      .where = pointer_.empty() ? "the whole file" : pointer_,
                                      .expected = "an object",
                                      .got = object.described(),
                                      .fix = {}});
  }

  // The member, or null where it is absent or null: for keys that may be left out.
  const Json* find(std::string_view key) const {
    const Json* value = object_.find(key);
    return value && !value->is_null() ? value : nullptr;
  }
  // The member, null or not. This and what follows throw codes.missing where there is none, codes.wrong_kind and
  // codes.out_of_range where the value does not fit.
  const Json& require(std::string_view key) const {
    const Json* value = object_.find(key);
    if (!value) fail(codes_.missing, key, "this key", "none", "State it");
    return *value;
  }
  const Json& object() const { return object_; }
  // RFC 6901, safe for a message: a key of another alphabet is quoted.
  std::string pointer(std::string_view key) const {
    const bool plain =
        key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == key.npos;
    return pointer_ + "/" + (plain && key.size() <= 60 ? std::string(key) : expert::quoted(key));
  }

  // From low to high, both allowed; 12.0 counts as 12.
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) const {
    const Json& value = require(key);
    if (!value.is_integer()) {
      // Beyond int64 it is out of range rather than of another kind.
      if (value.is_number() && (value.as_double() > 0x1p53 || value.as_double() < -0x1p53)) fail_range(key, low, high);
      fail(codes_.wrong_kind, key, "an integer", value.described());
    }
    if (value.as_int() < low || value.as_int() > high) fail_range(key, low, high);
    return value.as_int();
  }
  // `ok` says which numbers are allowed, `expected` says it in words.
  template <class Ok>
  double number(std::string_view key, const char* expected, Ok ok) const {
    const Json& value = require(key);
    if (!value.is_number()) fail(codes_.wrong_kind, key, expected, value.described());
    if (!ok(value.as_double())) fail(codes_.out_of_range, key, expected, value.dump());
    return value.as_double();
  }
  bool boolean(std::string_view key) const {
    const Json& value = require(key);
    if (!value.is_bool()) fail(codes_.wrong_kind, key, "true or false", value.described());
    return value.as_bool();
  }
  const std::string& text(std::string_view key) const {
    const Json& value = require(key);
    if (!value.is_string()) fail(codes_.wrong_kind, key, "a string", value.described());
    return value.as_string();
  }
  std::vector<std::string> texts(std::string_view key) const {
    const Json& value = require(key);
    if (!value.is_array()) fail(codes_.wrong_kind, key, "a list of strings", value.described());
    std::vector<std::string> out;
    for (const Json& item : value.items()) {
      if (!item.is_string()) fail(codes_.wrong_kind, key, "a list of strings", "in it " + item.described());
      out.push_back(item.as_string());
    }
    return out;
  }

  // For rules beyond kind and range, in the same form: the message names the pointer of `key`.
  [[noreturn]] void fail(const ErrorCode& code, std::string_view key, std::string expected, std::string got,
                         std::string fix = "") const {
    throw Error(code, {.file = file_,
                       .where = pointer(key),
                       .expected = std::move(expected),
                       .got = std::move(got),
                       .fix = std::move(fix)});
  }

 private:
  [[noreturn]] void fail_range(std::string_view key, std::int64_t low, std::int64_t high) const {
    fail(codes_.out_of_range, key, "an integer from " + std::to_string(low) + " to " + std::to_string(high),
         object_.find(key)->dump());
  }

  const Json& object_;
  std::string file_, pointer_;
  FieldCodes codes_;
};

// How many insertions, deletions and replacements of a letter turn one word into the other: for finding misspelt keys.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace v0
}  // namespace expert
