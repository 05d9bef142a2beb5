// expect: EXPERT-E019: this validation parses a language that no grammar policy names. Add Grammar<...>, or use
// NoValidation.
#include "expert/policy/assemble.hpp"

using namespace expert;

#ifdef EXPECT_FAIL
using E = Expert<DoRA<4>, ParserStrict>;
#else
using E = Expert<DoRA<4>, Grammar<SqlPostgres>, ParserStrict>;
#endif
int main() { return static_cast<int>(sizeof(E)) - 1; }
