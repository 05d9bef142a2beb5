// A function from text to text, run in a child process with limits, so that nothing it is given can take the program
// down. One child serves many requests; one that dies or is silent for too long is replaced, and only the request that
// it was at is lost.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>

#include "child_socket.hpp"
#include "expert/core/error.hpp"

namespace cli {

inline constexpr expert::ErrorCode no_child_process{404, "the process that judges answers cannot be started"};

class ChildWorker {
 public:
  using Answer = std::string (*)(const std::string& request);

  explicit ChildWorker(Answer answer) : answer_(answer) {}
  ChildWorker(const ChildWorker&) = delete;
  ChildWorker& operator=(const ChildWorker&) = delete;
  ~ChildWorker() { stop(); }

  // Empty where the child died or was too slow: why() says which. Throws E404.
  std::optional<std::string> ask(const std::string& request) {
    if (child_ < 0) start();
    std::string message;
    const char* why = "the process died";
    if (send_message(socket_, request)) why = receive_message(socket_, message, Clock::now() + answer_time);
    if (why == nullptr) return message;
    why_ = why;
    stop();
    ++replaced_;
    return std::nullopt;
  }
  const std::string& why() const { return why_; }
  std::int64_t replaced() const { return replaced_; }  // children that did not survive a request

 private:
  static constexpr std::chrono::seconds answer_time{10};  // wall clock; of processor time a request has 3 s
  static constexpr rlim_t cpu_seconds = 3, address_space = rlim_t{1} << 30;

  // The child's whole life. Its limits are set before the first request; processor time is renewed for each.
  [[noreturn]] static void serve(int socket, pid_t parent, Answer answer) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (const int nowhere = open("/dev/null", O_RDWR); nowhere >= 0)
      for (const int stream : {0, 1, 2}) dup2(nowhere, stream);  // a library that aborts has much to say
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
#ifndef __SANITIZE_ADDRESS__  // whose shadow alone takes terabytes of addresses
    limit(RLIMIT_AS, address_space);
#endif
    limit(RLIMIT_NOFILE, 1);  // 0 is taken: nothing can be opened; poll() refuses more descriptors than the limit
    for (std::string request;;) {
      if (receive_message(socket, request, Clock::time_point::max()) != nullptr) _exit(0);
      rusage used{};
      getrusage(RUSAGE_SELF, &used);
      limit(RLIMIT_CPU, static_cast<rlim_t>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1 + cpu_seconds);
      if (!send_message(socket, answer(request))) _exit(0);
    }
  }

  void start() {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
      throw expert::Error(no_child_process, {.got = std::strerror(errno)});
    const pid_t parent = getpid();
    std::fflush(nullptr);
    child_ = fork();
    if (child_ == 0) {
      close(pair[0]);
      try {
        serve(pair[1], parent, answer_);
      } catch (...) {  // memory, most of all: as good as a crash
        _exit(1);
      }
    }
    close(pair[1]);
    socket_ = pair[0];
    if (child_ < 0) {
      close(pair[0]);
      throw expert::Error(no_child_process, {.got = std::strerror(errno)});
    }
    const timeval patience{.tv_sec = answer_time.count(), .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  }
  void stop() {
    if (child_ < 0) return;
    close(socket_);
    kill(child_, SIGKILL);
    while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) continue;
    child_ = -1;
  }

  Answer answer_;
  pid_t child_ = -1;
  int socket_ = -1;
  std::int64_t replaced_ = 0;
  std::string why_;
};

}  // namespace cli
