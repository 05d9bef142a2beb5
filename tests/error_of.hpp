// A callable that must throw -> the expert::Error that it threw; the test fails where it throws nothing.
#pragma once
#include <string>

#include "catch.hpp"
#include "expert/core/error.hpp"

template <class F>
expert::Error error_of(F&& call) {
  try {
    call();
  } catch (const expert::Error& error) {
    return error;
  }
  FAIL("no error was thrown");
  throw 0;  // FAIL does not return
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
