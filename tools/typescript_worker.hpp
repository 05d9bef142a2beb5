// A text -> whether it is TypeScript, by the TypeScript compiler (Debian: node-typescript) in a node process that
// stays. The text is parsed, never run. A process that dies or is silent for too long is replaced, and asked once more.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "expert/core/error.hpp"
#include "expert/grammar/verdict.hpp"

namespace cli {

inline constexpr expert::ErrorCode no_typescript{361, "the TypeScript compiler cannot be started"};

class TypeScriptWorker {
 public:
  // Wall clock, and therefore long: a text of 1 MiB takes node some hundred milliseconds where nothing else runs.
  static constexpr std::chrono::seconds default_answer_time{30};

  // Throws E361 where node or the compiler is absent.
  explicit TypeScriptWorker(std::chrono::seconds answer_time = default_answer_time) : answer_time_(answer_time) {
    start();
  }
  TypeScriptWorker(const TypeScriptWorker&) = delete;
  TypeScriptWorker& operator=(const TypeScriptWorker&) = delete;
  ~TypeScriptWorker() { stop(); }

  // Throws E361 where a process that died cannot be replaced.
  expert::SyntaxVerdict syntax(const std::string& text);
  const std::string& version() const { return version_; }  // of the compiler
  pid_t process() const { return child_; }
  std::int64_t replaced() const { return replaced_; }

 private:
  std::optional<std::string> ask(const std::string& text);  // empty: the child died or was too slow
  void start();
  void stop();

  std::chrono::seconds answer_time_;
  pid_t child_ = -1;
  int socket_ = -1;
  std::int64_t replaced_ = 0;
  std::string version_, why_;
};

}  // namespace cli
