// What a parser says about a finished text: whether it belongs to its language, and where and why not.
#pragma once
#include <cstddef>
#include <string>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

struct SyntaxVerdict {
  bool valid = false;
  std::string message = {};  // what was expected and what stands there; empty where the text is valid
  std::size_t offset = 0;    // in bytes, of the first token that does not fit
};

}  // namespace v0
}  // namespace expert
