// The part that needs zlib, through its own target. The argument is a file that does not exist.
#include <cstdio>
#include <expert/io/gzip.hpp>

int main(int, char** arguments) {
  try {
    expert::open_plain_or_gzip(arguments[1]);
  } catch (const expert::Error& error) {
    std::printf("%s\n", error.what());
    return 0;
  }
  return 1;
}
