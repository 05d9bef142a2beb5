// A program outside the tree, of two translation units: everything in the headers must be inline or a template.
#include <cstdio>
#include <expert/expert.hpp>

using Tiny = expert::Expert<expert::ExpertTiny, expert::DoRA<8>, expert::Packing<128>, expert::Batch<2>>;

long long plan_of_the_other_file();

int main() {
  std::printf("expert %d.%d\n", expert::version_major, expert::version_minor);
  return expert::TrainingPlan<Tiny>::bytes(256) == plan_of_the_other_file() ? 0 : 1;
}
