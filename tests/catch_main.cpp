// Catch2 v2 needs one translation unit with main; v3 brings its own library.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
