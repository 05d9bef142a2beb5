// JSON lines (RFC 8259 objects, one per line) -> rows with their line numbers, one at a time.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "expert/core/error.hpp"
#include "expert/core/limits.hpp"
#include "expert/io/lines.hpp"
#include "expert/json/json.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode line_not_json{252, "a line is not valid JSON"};
inline constexpr ErrorCode line_not_object{253, "a line is not a JSON object"};
inline constexpr ErrorCode file_without_rows{256, "a data file has no rows"};

// One object of the file.
struct JsonRow {
  std::int64_t line = 0;  // from 1, blank lines counted
  Json value;
};

// Reads a data file row by row; memory is bounded by the longest line that the limits allow. Lines of white space only
// are skipped and counted. Whatever is wrong with a line throws Error 25x with the file and the line.
class JsonlReader {
 public:
  // The source must outlive the reader; `file` is what errors call it.
  JsonlReader(ByteSource& source, const std::string& file, const Limits& limits = default_limits)
      : lines_(source, file, limits), limits_(limits) {}

  // The next row; false at the end of the file.
  bool next(JsonRow& row) {
    std::string_view line;
    while (lines_.next(line)) {
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
        ++blank_lines_;
        continue;
      }
      row.line = lines_.number();
      row.value = parse(line);
      ++rows_;
      return true;
    }
    return false;
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t blank_lines() const { return blank_lines_; }
  const std::string& file() const { return lines_.file(); }

 private:
  Json parse(std::string_view line) const {
    const std::string where = "line " + std::to_string(lines_.number());
    try {
      Json value = parse_json(line, lines_.file(), limits_.jsonl_line_bytes, limits_);
      if (value.is_object()) return value;
    } catch (const Error& e) {  // the JSON reader knows the place within the line, this one the line
      const ErrorDetail& d = e.detail();
      const std::string_view own = "line 1, ";  // the line of a text that is one line
      const std::string place = d.where.starts_with(own) ? d.where.substr(own.size()) : d.where;
      throw Error(line_not_json, {.file = lines_.file(),
                                  .where = place.empty() ? where : where + ", " + place,
                                  .expected = d.expected.empty() ? "valid JSON" : d.expected,
                                  .got = d.got.empty() ? std::string(e.error_code().what) : d.got,
                                  .fix = "Write one JSON object per line, in UTF-8"});
    }
    throw Error(line_not_object, {.file = lines_.file(),
                                  .where = where,
                                  .expected = "an object",
                                  .got = quoted(line, 20),
                                  .fix = "Write one JSON object per line"});
  }

  LineReader lines_;
  Limits limits_;
  std::int64_t rows_ = 0, blank_lines_ = 0;
};

// Throws E256 where the reader has come to the end without a row.
inline void require_rows(const JsonlReader& reader) {
  if (reader.rows() == 0)
    throw Error(file_without_rows, {.file = reader.file(),
                                    .where = {},
                                    .expected = "at least one JSON object",
                                    .got = std::to_string(reader.blank_lines()) + " blank lines",
                                    .fix = "Check that it is the right file"});
}

}  // namespace v0
}  // namespace expert
