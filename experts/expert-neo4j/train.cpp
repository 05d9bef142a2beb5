// Trains the Cypher expert: its type and its manifest, nothing else. CMake names both, so that this file is the program
// of TinyNeo4jExpert and of Neo4jExpert<> alike.
#include "cli/train_main.hpp"
#include "expert.hpp"

int main(int argc, char** argv) { return cli::train_main<expert::EXPERT_TYPE>(argc, argv, EXPERT_MANIFEST); }
