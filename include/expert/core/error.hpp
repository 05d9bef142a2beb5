// What went wrong -> one sentence with its number: the only exception type of the library.
//
//   EXPERT-E221: safetensors header is not valid. model.safetensors, offset 8. Expected a JSON object, got "[". Save it
//   again.
//
// A module declares its codes beside the code that throws them (`inline constexpr ErrorCode x{221, "..."};`); the
// number has one row in docs/errors.md and one test. Numbers: 0xx compile time, 1xx manifest against type, 20x
// input/output, 21x JSON, 22x safetensors, 23x model directory, 24x tokenizer and chat template, 25x datasets, 26x
// adapters, 27x checkpoints, 30x training, 31x generation, 32x and 33x grammars, 40x command line.
#pragma once
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

struct ErrorCode {
  int number;
  std::string_view what;  // a clause without a full stop: "a tensor is missing"
  friend constexpr bool operator==(ErrorCode a, ErrorCode b) { return a.number == b.number; }
};

// Everything that a reader needs to act. Empty parts are left out of the sentence.
struct ErrorDetail {
  std::string file = {};      // as the caller named it
  std::string where = {};     // JSON pointer, tensor name, "line 3", "offset 120"
  std::string expected = {};  // "2 dimensions", "one of f32, bf16, f16"
  std::string got = {};
  std::string fix = {};  // what to do, an imperative without a full stop
};

class Error : public std::exception {
 public:
  Error(ErrorCode code, ErrorDetail detail) : code_(code), detail_(std::move(detail)), what_(sentence()) {}
  int code() const noexcept { return code_.number; }
  ErrorCode error_code() const noexcept { return code_; }
  const ErrorDetail& detail() const noexcept { return detail_; }
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  std::string sentence() const {
    char number[8];
    std::snprintf(number, sizeof number, "E%03d", code_.number);
    std::string s = "EXPERT-" + std::string(number) + ": " + std::string(code_.what) + ".";
    if (!detail_.file.empty() || !detail_.where.empty()) {
      s += " " + detail_.file;
      if (!detail_.file.empty() && !detail_.where.empty()) s += ", ";
      s += detail_.where + ".";
    }
    if (!detail_.expected.empty()) s += " Expected " + detail_.expected;
    if (!detail_.got.empty()) s += (detail_.expected.empty() ? " Got " : ", got ") + detail_.got;
    if (!detail_.expected.empty() || !detail_.got.empty()) s += ".";
    if (!detail_.fix.empty()) s += " " + detail_.fix + ".";
    return s;
  }

  ErrorCode code_;
  ErrorDetail detail_;
  std::string what_;
};

// Text from a file, made safe for a message: printable ASCII stays, all else becomes \xNN, at most `limit` bytes.
inline std::string quoted(std::string_view text, std::size_t limit = 60) {
  std::string s = "\"";
  for (std::size_t i = 0; i < text.size() && i < limit; ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
      s += static_cast<char>(c);
    } else {
      char hex[5];
      std::snprintf(hex, sizeof hex, "\\x%02x", unsigned{c});
      s += hex;
    }
  }
  return s + (text.size() > limit ? "\"..." : "\"");
}

// The system's words for an errno.
inline std::string system_message(int error) { return std::strerror(error); }

}  // namespace v0
}  // namespace expert
