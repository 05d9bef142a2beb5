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

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

// A JSON value that a policy can state at compile time. Lists compare as sets, as PEFT reads target_modules.
using Strings = std::span<const std::string_view>;
using Integers = std::span<const std::int64_t>;
struct Value {
  enum class Kind : std::uint8_t { boolean, integer, number, text, texts, integers };
  Kind kind = Kind::boolean;
  bool boolean = false;
  std::int64_t integer = 0;
  double number = 0;
  std::string_view text = {};
  Strings texts = {};
  Integers integers = {};

  constexpr Value() = default;
  template <std::same_as<bool> B>
  constexpr Value(B value) : boolean(value) {}
  template <std::integral I>
    requires(!std::same_as<I, bool>)
  constexpr Value(I value) : kind(Kind::integer), integer(value) {}
  constexpr Value(double value) : kind(Kind::number), number(value) {}
  constexpr Value(std::string_view value) : kind(Kind::text), text(value) {}
  constexpr Value(const char* value) : kind(Kind::text), text(value) {}
  constexpr Value(Strings value) : kind(Kind::texts), texts(value) {}
  constexpr Value(Integers value) : kind(Kind::integers), integers(value) {}
  template <std::size_t N>
  constexpr Value(const std::array<std::string_view, N>& value) : Value(Strings(value)) {}
  template <std::size_t N>
  constexpr Value(const std::array<std::int64_t, N>& value) : Value(Integers(value)) {}
};

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
