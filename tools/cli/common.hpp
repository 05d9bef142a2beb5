// What every command of expert-cli shares: exit codes, messages, writing rows, and settings read once.
#pragma once
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/json/json.hpp"
#include "expert/text/unicode.hpp"

namespace cli {

using namespace expert;

inline constexpr ErrorCode unknown_flag{400, "the command line has an unknown argument"};
inline constexpr ErrorCode bad_command_line{401, "the command line cannot be understood"};
inline constexpr ErrorCode weights_not_pinned_ones{403, "the weights are not those that the manifest pins"};

enum ExitCode : int { ok = 0, failed = 1, refused = 2, interrupted = 130, terminated = 143 };

// Input that is refused is 2; a full or failing disk (E203, E275), numbers that blew up (E303, E312) and what this
// program or machine lacks (E404, E405, E410) are 1.
inline ExitCode exit_code_of(const Error& e) {
  for (const int number : {203, 275, 303, 312, 404, 405, 410})
    if (e.code() == number) return failed;
  return refused;
}

inline Json to_json(const Error& e) {
  const ErrorDetail& d = e.detail();
  Json json = Json::object();
  json.set("code", "EXPERT-E" + std::to_string(e.code())).set("message", utf8_lossy(e.what()));
  for (const auto& [key, text] : {std::pair<const char*, const std::string&>{"file", d.file},
                                  {"where", d.where},
                                  {"expected", d.expected},
                                  {"got", d.got},
                                  {"fix", d.fix}})
    json.set(key, utf8_lossy(text));
  return json;
}

// Where results go: sentences to stderr; with --json one object to stdout.
class Report {
 public:
  explicit Report(bool json) : json_(json) {}
  bool wants_json() const { return json_; }
  Json& result() { return result_; }
  void say(const std::string& line) const { std::fprintf(stderr, "%s\n", line.c_str()); }
  void complain(const std::vector<Error>& errors) {
    Json list = Json::array();
    for (const Error& e : errors) {
      say(e.what());
      list.push(to_json(e));
    }
    result_.set("errors", std::move(list));
  }
  void finish(ExitCode code) {
    if (!json_) return;
    result_.set("exit_code", static_cast<int>(code));
    std::printf("%s\n", result_.dump().c_str());
  }

 private:
  bool json_;
  Json result_ = Json::object();
};

// JSON lines that appear under their name when all are written.
class RowWriter {
 public:
  explicit RowWriter(const std::filesystem::path& path) : file_(path) {}
  void write(const Json& row) {
    buffer_ += row.dump();
    buffer_ += '\n';
    if (buffer_.size() > (std::size_t{1} << 20)) flush();
  }
  void commit() {
    flush();
    file_.commit();
  }

 private:
  void flush() {
    file_.write(buffer_);
    buffer_.clear();
  }
  AtomicFile file_;
  std::string buffer_;
};

}  // namespace cli
