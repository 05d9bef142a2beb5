// Trains the JSON expert: its type and its manifest, nothing else. CMake names both, so that this file is the program
// of TinyJsonExpert and of JsonExpert<> alike.
#include "cli/train_main.hpp"
#include "expert.hpp"

int main(int argc, char** argv) { return cli::train_main<expert::EXPERT_TYPE>(argc, argv, EXPERT_MANIFEST); }
