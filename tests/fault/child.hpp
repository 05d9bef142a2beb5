// Runs of kill_child: started, waited for, and what they say at the end.
#pragma once
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"

// Starts the child; its stdout goes to `output`, its stderr to output + ".err". `settings` are added to the
// environment.
inline pid_t start_child(const std::string& out, const std::string& output, const char* max_steps,
                         std::vector<std::string> settings = {}) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const std::string errors = output + ".err";
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  std::string program = EXPERT_KILL_CHILD, directory = out, steps = max_steps;
  char* const arguments[] = {program.data(), directory.data(), steps.data(), nullptr};
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) environment.push_back(*variable);
  for (std::string& setting : settings) environment.push_back(setting.data());
  environment.push_back(nullptr);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments, environment.data());
  posix_spawn_file_actions_destroy(&actions);
  REQUIRE(error == 0);
  return pid;
}

inline int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) REQUIRE(errno == EINTR);
  return status;
}

inline std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Ending {
  std::string from, fingerprint;
};

inline Ending run_to_the_end(const std::string& out, const std::string& output, const char* max_steps) {
  const int status = wait_for(start_child(out, output, max_steps));
  INFO(text_of(output + ".err"));
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  const std::string text = text_of(output);
  const std::size_t line = text.find('\n');
  return {text.substr(0, line), text.substr(line + 1)};
}
