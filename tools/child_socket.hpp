// Messages between a program and a child process of it: a length, then bytes. No end trusts the other.
#pragma once
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace cli {

using Clock = std::chrono::steady_clock;
inline constexpr std::size_t max_message = std::size_t{64} << 20;

inline bool send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}
inline bool send_message(int socket, std::string_view message) {
  const std::uint64_t size = message.size();
  char length[sizeof size];
  std::memcpy(length, &size, sizeof size);
  return send_all(socket, {length, sizeof length}) && send_all(socket, message);
}

// Fills the buffer before the deadline, or says why not.
inline const char* receive(int socket, char* to, std::size_t size, Clock::time_point deadline) {
  while (size > 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return "no answer in time";
    pollfd ready{socket, POLLIN, 0};
    const int polled = poll(&ready, 1, static_cast<int>(std::min<std::int64_t>(left, 1 << 30)));
    if (polled < 0 && errno != EINTR) return "poll failed";
    if (polled <= 0) continue;
    const ssize_t got = recv(socket, to, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return "the process died";
    to += got;
    size -= static_cast<std::size_t>(got);
  }
  return nullptr;
}
inline const char* receive_message(int socket, std::string& message, Clock::time_point deadline) {
  std::uint64_t size = 0;
  char length[sizeof size];
  if (const char* why = receive(socket, length, sizeof length, deadline)) return why;
  std::memcpy(&size, length, sizeof size);
  if (size > max_message) return "the answer is too long";
  message.resize(size);
  return receive(socket, message.data(), size, deadline);
}

// Lowers a limit of this process.
inline void limit(decltype(RLIMIT_CPU) resource, rlim_t most) {
  rlimit now{};
  getrlimit(resource, &now);
  now.rlim_cur = std::min(most, now.rlim_max);
  setrlimit(resource, &now);
}

}  // namespace cli
