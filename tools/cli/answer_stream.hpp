// Answers of rows as they grow -> a file: their text, one answer after another in the order of the rows, each ended by
// a newline; or JSON lines {"row", "text"} as they come, "row" being the line of the input.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/json/json.hpp"

namespace cli {

using namespace expert;

class AnswerStream {
 public:
  // lines: of the input, one for each row.
  AnswerStream(std::FILE* to, bool json, std::vector<std::int64_t> lines)
      : to_(to), json_(json), lines_(std::move(lines)), waiting_(lines_.size()), has_ended_(lines_.size()) {}

  void grew(std::size_t row, std::string_view text) {
    if (json_) {
      write(Json::object().set("row", lines_[row]).set("text", text).dump() + "\n");
    } else if (row == shown_) {
      write(text);
    } else {
      waiting_[row] += text;  // of a row that is decoded beside the one that is shown
    }
  }
  void ended(std::size_t row) {
    has_ended_[row] = true;
    if (json_) return;
    for (; shown_ < lines_.size() && has_ended_[shown_]; ++shown_) {
      write("\n");
      if (shown_ + 1 < lines_.size()) write(std::exchange(waiting_[shown_ + 1], {}));
    }
  }

 private:
  void write(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), to_);
    std::fflush(to_);
  }

  std::FILE* to_;
  bool json_;
  std::vector<std::int64_t> lines_;
  std::vector<std::string> waiting_;  // text of rows behind the one that is shown
  std::vector<bool> has_ended_;
  std::size_t shown_ = 0;  // the row whose text is written as it comes
};

}  // namespace cli
