// What a policy is: an empty struct with `using slot`, static constexpr members spelled like their manifest keys, and
// describe(), its projection onto the manifest. The library keeps no list of policies: a user's struct is as good as
// ours.
#pragma once
#include <array>
#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <variant>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

// A JSON value that a policy can state at compile time. Lists compare as sets, as PEFT reads target_modules.
using Strings = std::span<const std::string_view>;
using Integers = std::span<const std::int64_t>;
using Value = std::variant<bool, std::int64_t, double, std::string_view, Strings, Integers>;

// `stated`: the manifest must have the field. `if_present`: a second statement of a fact; absent is fine, different is
// not.
enum class Presence : std::uint8_t { stated, if_present };

struct Field {
  std::string_view pointer;  // RFC 6901, e.g. "/base_models/0/rope_scaling/factor"
  Value value;
  Presence presence = Presence::stated;
};

template <class P>
concept HasSlot = requires { typename P::slot; };
template <class P>
concept HasDescribe = requires { Field{P::describe()[0]}; };

}  // namespace v0
}  // namespace expert
