// A program outside the tree, of two translation units: everything in the headers must be inline or a template.
#include <cstdio>
#include <expert/core/error.hpp>

int second();

int main() {
  std::printf("expert %d.%d\n", expert::version_major, expert::version_minor);
  return second();
}
