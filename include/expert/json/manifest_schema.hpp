// A manifest as JSON -> everything that is wrong with it on its own, before any type is compared: kinds, ranges,
// unknown keys, contradictions, and values that name what this library does not do.
#pragma once
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/sort.hpp"
#include "expert/json/value.hpp"
#include "expert/policy/manifest_fields.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode manifest_unknown_key{101, "a manifest has a key that nothing reads"};
inline constexpr ErrorCode manifest_wrong_kind{102, "a manifest's value is of another kind than expected"};
inline constexpr ErrorCode manifest_out_of_range{103, "a manifest's value is out of range"};
inline constexpr ErrorCode manifest_choice{104, "a manifest's value is not one of those known"};
inline constexpr ErrorCode manifest_missing{105, "a manifest lacks a required field"};
inline constexpr ErrorCode manifest_refused{106, "a manifest asks for what this library does not do"};
inline constexpr ErrorCode manifest_contradiction{107, "two fields of a manifest contradict each other"};
inline constexpr ErrorCode manifest_list_length{108, "a list in a manifest has the wrong number of entries"};
inline constexpr ErrorCode manifest_list_twice{109, "a list in a manifest names a thing twice"};
inline constexpr ErrorCode manifest_unsafe_name{110, "a manifest's text cannot be part of a file name"};
inline constexpr ErrorCode manifest_old_form{111, "a manifest's value has an old form"};

struct Problem {
  ErrorCode code;
  std::string pointer;   // RFC 6901
  std::string manifest;  // the value, safe to print
  std::string expected;  // of a mismatch: the compiled value
  std::string fix;
  std::string policy = {};  // of a mismatch: who states the compiled value
};

// A pointer as a message may show it: keys come from the file.
inline std::string shown_pointer(std::string_view pointer) {
  const std::string text = quoted(pointer, 160);
  return text.ends_with('"') ? text.substr(1, text.size() - 2) : text.substr(1);
}
// A value as one short line that no terminal misreads.
inline std::string shown(const Json& value) {
  const std::string text = value.dump();
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  return plain && text.size() <= 80 ? text : quoted(text, 80);
}

namespace detail {

inline std::string child_pointer(std::string_view parent, std::string_view key) {
  std::string pointer(parent);
  pointer += '/';
  for (const char c : key) {
    if (c == '~')
      pointer += "~0";
    else if (c == '/')
      pointer += "~1";
    else
      pointer += c;
  }
  return pointer;
}

constexpr bool matches(std::string_view pattern, std::string_view pointer) {
  const std::size_t star = pattern.find('*');
  if (star == pattern.npos) return pattern == pointer;
  const std::string_view head = pattern.substr(0, star), tail = pattern.substr(star + 1);
  if (pointer.size() < head.size() + tail.size() || !pointer.starts_with(head) || !pointer.ends_with(tail))
    return false;
  return pointer.substr(head.size(), pointer.size() - head.size() - tail.size()).find('/') == pointer.npos;
}
inline const ManifestField* find_field(std::string_view pointer) {
  for (const ManifestField& field : manifest_fields)
    if (matches(field.pointer, pointer)) return &field;
  return nullptr;
}
inline bool is_section(std::string_view pointer) {
  return std::any_of(manifest_fields.begin(), manifest_fields.end(), [&](const ManifestField& field) {
    return field.pointer.size() > pointer.size() && field.pointer.starts_with(pointer) &&
           field.pointer[pointer.size()] == '/';
  });
}

// Levenshtein distance; keys longer than any known one are cut, which changes no ranking.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  a = a.substr(0, 64), b = b.substr(0, 64);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}
// The known key of the same object that is spelled most alike; where it stands elsewhere under that very name, that
// place.
inline std::string nearest_key(std::string_view parent, std::string_view key) {
  std::string nearest;
  std::size_t least = SIZE_MAX;
  for (const ManifestField& field : manifest_fields) {
    if (field.field_class == FieldClass::refused) continue;
    const std::string_view leaf = field.pointer.substr(field.pointer.rfind('/') + 1);
    if (leaf == key) return std::string(field.pointer);
    if (!field.pointer.starts_with(parent) || field.pointer.size() <= parent.size() ||
        field.pointer[parent.size()] != '/')
      continue;
    std::string_view rest = field.pointer.substr(parent.size() + 1);
    rest = rest.substr(0, rest.find('/'));
    if (const std::size_t distance = edit_distance(key, rest); distance < least)
      least = distance, nearest = std::string(parent) + "/" + std::string(rest);
  }
  return nearest;
}

inline std::string shortest(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

inline bool is_file_name(std::string_view text) {
  if (text.empty() || text.size() > 64 || text.front() == '.' || text.front() == '-') return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}
// major.minor.patch, perhaps followed by -pre.release or +build.
inline bool is_version(std::string_view text) {
  for (int part = 0; part < 3; ++part) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    if (digits == 0 || digits > 9 || (digits > 1 && text.front() == '0')) return false;
    text.remove_prefix(digits);
    if (part < 2 && !text.starts_with('.')) return false;
    if (part < 2) text.remove_prefix(1);
  }
  return text.empty() || ((text.front() == '-' || text.front() == '+') && text.size() > 1 && text.size() <= 40 &&
                          std::all_of(text.begin() + 1, text.end(), [](char c) {
                            return c == '+' || is_file_name({&c, 1}) || c == '.' || c == '-';
                          }));
}
inline bool is_hash(std::string_view text) {
  return text.empty() || (text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos);
}

class ManifestSchema {
 public:
  std::vector<Problem> run(const Json& manifest) {
    check(manifest, "");
    if (manifest.is_object()) {
      require(manifest);
      check_agreement(manifest);
    }
    return std::move(problems_);
  }

 private:
  void add(ErrorCode code, std::string_view pointer, const Json* value, std::string expected, std::string fix = "") {
    problems_.push_back(
        {code, std::string(pointer), value ? shown(*value) : "(absent)", std::move(expected), std::move(fix), {}});
  }

  // Recurses along known pointers only, so its depth does not depend on the input.
  void check(const Json& value, const std::string& pointer) {
    if (const ManifestField* field = find_field(pointer)) return check_field(value, pointer, *field);
    if (pointer == "/base_models/0/rope_scaling" && value.is_string())
      return add(manifest_old_form, pointer, &value, "an object",
                 "Write {\"type\": \"ntk-by-parts\", \"factor\": 8.0, \"max_position_embeddings\": 32768, "
                 "\"original_max_position_embeddings\": 8192, \"fine_grained\": true}");
    check_members(value, pointer);
  }

  void check_members(const Json& value, const std::string& pointer) {
    if (!value.is_object()) return add(manifest_wrong_kind, pointer, &value, "an object");
    for (const auto& [key, member] : value.members()) {
      if (key.starts_with('_')) continue;  // a comment
      const std::string at = child_pointer(pointer, key);
      if (find_field(at) || is_section(at))
        check(member, at);
      else
        add(manifest_unknown_key, at, &member, known_key(pointer, key),
            "Rename it, remove it, or begin it with _ to make it a comment");
    }
  }

  // Only the first few are looked up: a file of nothing but unknown keys shall not take long to refuse.
  std::string known_key(std::string_view parent, std::string_view key) {
    constexpr int enough = 20;
    return ++unknown_keys_ > enough ? "a known key" : "a known key; the nearest is " + nearest_key(parent, key);
  }

  void check_field(const Json& value, const std::string& pointer, const ManifestField& field) {
    const auto kind = [&](bool ok, std::string_view expected) {
      if (!ok) add(manifest_wrong_kind, pointer, &value, std::string(expected));
      return ok;
    };
    if (field.field_class == FieldClass::refused)
      return add(manifest_refused, pointer, &value, std::string(field.note));
    switch (field.kind) {
      case FieldKind::anything:
        return;
      case FieldKind::boolean:
        kind(value.is_bool(), "true or false");
        return;
      case FieldKind::integer:
      case FieldKind::number:
        return check_number(value, pointer, field);
      case FieldKind::integers:
        if (kind(value.is_array(), "a list of integers")) check_list(value, pointer, field);
        return;
      case FieldKind::texts:
        if (kind(value.is_array(), "a list of strings")) check_list(value, pointer, field);
        return;
      case FieldKind::text_map:
        if (kind(value.is_object(), "an object of strings"))
          for (const auto& [key, member] : value.members())
            if (!key.starts_with('_') && !member.is_string())
              add(manifest_wrong_kind, child_pointer(pointer, key), &member, "a string");
        return;
      case FieldKind::empty_list:
        if (kind(value.is_array(), "a list") && !value.items().empty())
          add(manifest_refused, pointer, &value, "an empty list: " + std::string(field.note));
        return;
      case FieldKind::one_object:
      case FieldKind::one_object_or_none:
        if (!kind(value.is_array(), "a list with one object")) return;
        if (value.items().size() > 1 || (value.items().empty() && field.kind == FieldKind::one_object))
          return add(manifest_list_length, pointer, &value,
                     field.kind == FieldKind::one_object ? "exactly one entry" : "at most one entry",
                     "Write one manifest for each");
        if (!value.items().empty()) check_members(value.items()[0], pointer + "/0");
        return;
      default:
        break;
    }
    if (!kind(value.is_string(), "a string")) return;
    const std::string& text = value.as_string();
    if (field.kind == FieldKind::name && !is_file_name(text))
      add(manifest_unsafe_name, pointer, &value,
          "1 to 64 letters, digits, dots, underscores or hyphens, not first a dot or hyphen");
    if (field.kind == FieldKind::version && !is_version(text))
      add(manifest_unsafe_name, pointer, &value, "a semantic version such as 1.0.0");
    if (field.kind == FieldKind::hash && !is_hash(text))
      add(manifest_out_of_range, pointer, &value, "64 hexadecimal digits in lower case, or nothing");
    if (field.kind == FieldKind::choice) check_choice(value, pointer, field);
  }

  void check_choice(const Json& value, const std::string& pointer, const ManifestField& field) {
    std::string known;
    for (std::string_view rest = field.choices; !rest.empty();) {
      const std::string_view choice = rest.substr(0, rest.find('|'));
      if (choice == value.as_string()) return;
      known += (known.empty() ? "" : ", ") + quoted(choice);
      rest.remove_prefix(std::min(rest.size(), choice.size() + 1));
    }
    add(manifest_choice, pointer, &value, "one of " + known);
  }

  void check_number(const Json& value, const std::string& pointer, const ManifestField& field) {
    const bool integer = field.kind != FieldKind::number;
    if (!value.is_number()) return add(manifest_wrong_kind, pointer, &value, integer ? "an integer" : "a number");
    const double x = value.as_double();
    if (x < field.low || x > field.high || (field.low_is_excluded && x == field.low)) {
      std::string range = field.low_is_excluded ? "above " + shortest(field.low) : "at least " + shortest(field.low);
      if (field.high < std::numeric_limits<double>::max()) range += " and at most " + shortest(field.high);
      return add(manifest_out_of_range, pointer, &value, range);
    }
    if (integer && !value.is_integer()) add(manifest_wrong_kind, pointer, &value, "an integer");
  }

  void check_list(const Json& value, const std::string& pointer, const ManifestField& field) {
    std::vector<std::string> seen;
    for (std::size_t i = 0; i < value.items().size(); ++i) {
      const Json& item = value.items()[i];
      const std::string at = pointer + "/" + std::to_string(i);
      if (field.kind == FieldKind::integers) {
        check_number(item, at, field);
      } else if (!item.is_string()) {
        add(manifest_wrong_kind, at, &item, "a string");
      } else if (item.as_string().empty()) {
        add(manifest_out_of_range, at, &item, "a string that is not empty");
      }
      seen.push_back(item.dump());
    }
    sort_texts(seen);
    if (std::adjacent_find(seen.begin(), seen.end()) != seen.end())
      add(manifest_list_twice, pointer, &value, "each entry once");
  }

  void require(const Json& manifest) {
    for (const std::string_view pointer : {"/name", "/version", "/schema_version", "/base_models"})
      if (!manifest.at_pointer(pointer)) add(manifest_missing, pointer, nullptr, "this field", "State it");
  }

  void check_agreement(const Json& manifest) {
    const auto number = [&](std::string_view pointer) {
      const Json* value = manifest.at_pointer(pointer);
      return value && value->is_number() ? value->as_double() : 0.0;
    };
    const auto differ = [&](std::string_view pointer, std::string_view other, bool wrong, std::string expected) {
      if (wrong)
        add(manifest_contradiction, pointer, manifest.at_pointer(pointer), std::move(expected),
            "Compare with " + std::string(other));
    };
    constexpr std::string_view steps = "/training/config/warmup_steps", ratio = "/training/config/warmup_ratio";
    differ(ratio, steps, number(steps) > 0 && number(ratio) > 0, "0 beside warmup_steps above 0, or warmup_steps 0");
    constexpr std::string_view dropout = "/training/config/dropout", first = "/base_models/0/adapters/0/dropout";
    differ(dropout, first, manifest.at_pointer(dropout) && number(dropout) != number(first), "the adapter's dropout");
    constexpr std::string_view min = "/training/dataset/validation/min_length",
                               max = "/training/dataset/validation/max_length";
    differ(max, min, manifest.at_pointer(max) && number(max) < number(min), "at least min_length");
    if (const Json* fp16 = manifest.at_pointer("/training/config/fp16"); fp16 && fp16->is_bool() && fp16->as_bool())
      add(manifest_refused, "/training/config/fp16", fp16, "false: half precision needs loss scaling, bf16 does not",
          "Use bf16");
    if (const Json* method = manifest.at_pointer("/training/config/method");
        method && method->is_string() && method->as_string() != "sft")
      add(manifest_refused, "/training/config/method", method, "\"sft\": no other method is trained", "Use sft");
  }

  std::vector<Problem> problems_;
  int unknown_keys_ = 0;
};

}  // namespace detail

// Every problem, sorted by pointer; empty where the manifest is sound.
inline std::vector<Problem> manifest_problems(const Json& manifest) {
  std::vector<Problem> problems = detail::ManifestSchema().run(manifest);
  sort_list(problems, [](const Problem& a, const Problem& b) { return a.pointer < b.pointer; });
  return problems;
}

}  // namespace v0
}  // namespace expert
