// Preloaded into a process: the EXPERT_FAIL_AT-th call that changes files fails with errno EXPERT_FAIL_ERRNO, or writes
// a part of its bytes where that is 0. With EXPERT_FAIL_AT=0 none does, and their number is printed at the end.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

namespace {

int number(const char* name) {
  const char* text = getenv(name);
  return text == nullptr ? 0 : atoi(text);
}

int calls = 0;

bool is_the_one() {
  static const int at = number("EXPERT_FAIL_AT");
  return __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) == at;
}
__attribute__((destructor)) void report() {
  if (number("EXPERT_FAIL_AT") == 0) fprintf(stderr, "calls %d\n", calls);
}
int error() {
  static const int value = number("EXPERT_FAIL_ERRNO");
  return value;
}
bool fails() {
  if (!is_the_one() || error() == 0) return false;
  errno = error();
  return true;
}

template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if ((flags & (O_WRONLY | O_RDWR)) != 0 && fails()) return -1;
  return next<int(const char*, int, ...)>("open")(path, flags, mode);
}
ssize_t write(int file, const void* bytes, size_t count) {
  const bool now = is_the_one();
  if (now && error() != 0) {
    errno = error();
    return -1;
  }
  return next<ssize_t(int, const void*, size_t)>("write")(file, bytes, now && count > 1 ? count / 2 : count);
}
ssize_t pwrite(int file, const void* bytes, size_t count, off_t offset) {
  return fails() ? -1 : next<ssize_t(int, const void*, size_t, off_t)>("pwrite")(file, bytes, count, offset);
}
int fsync(int file) { return fails() ? -1 : next<int(int)>("fsync")(file); }
int ftruncate(int file, off_t size) noexcept { return fails() ? -1 : next<int(int, off_t)>("ftruncate")(file, size); }
int mkdir(const char* path, mode_t mode) noexcept {
  return fails() ? -1 : next<int(const char*, mode_t)>("mkdir")(path, mode);
}
int rename(const char* from, const char* to) noexcept {
  return fails() ? -1 : next<int(const char*, const char*)>("rename")(from, to);
}

}  // extern "C"
