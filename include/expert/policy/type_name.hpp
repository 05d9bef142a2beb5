// A type -> its name as a user writes it: "DoRA<12, 24, SixTargets>". Taken from the compiler, for messages only.
#pragma once
#include <string>
#include <string_view>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

namespace detail {

template <class T>
constexpr std::string_view raw_type_name() {
  const std::string_view name =
      __PRETTY_FUNCTION__;  // g++: "... [with T = X; std::string_view = ...]", clang: "... [T = X]"
  const std::size_t begin = name.find("T = ") + 4;
  const std::size_t semicolon = name.find("; std::string_view", begin);
  return name.substr(begin, (semicolon != name.npos ? semicolon : name.size() - 1) - begin);
}

}  // namespace detail

template <class T>
std::string type_name() {
  std::string name(detail::raw_type_name<T>());
  for (const std::string_view dropped : {"expert::v0::", "expert::", "struct ", "class "})
    for (std::size_t at = name.find(dropped); at != name.npos; at = name.find(dropped, at))
      name.erase(at, dropped.size());
  for (std::size_t at = name.find(" >"); at != name.npos; at = name.find(" >")) name.erase(at, 1);
  return name;
}

}  // namespace v0
}  // namespace expert
