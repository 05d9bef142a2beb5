#include <expert/core/error.hpp>

int second() { return expert::quoted("a") == "\"a\"" ? 0 : 1; }
