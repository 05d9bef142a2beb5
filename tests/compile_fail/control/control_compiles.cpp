// expect: EXPERT-E013: nothing is trained. Add DoRA<r> or LoRA<r>, or choose FullFineTune.
#include "expert/policy/assemble.hpp"

int main() { return static_cast<int>(sizeof(expert::Expert<expert::DoRA<4>>)) - 1; }
