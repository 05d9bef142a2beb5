// What can be wrong with one policy, or with two in one slot -> one numbered sentence. These functions are instantiated
// only when something is wrong; the compiler then prints explain_policy<TheUsersType>. Assertions stand in functions,
// not in classes: clang drops a class that holds a failed one, and everything that mentions it becomes a further error.
#pragma once
#include <utility>

#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

// One assertion per missing piece, in the order in which a reader would fix them.
template <class P>
void explain_policy() {
  if constexpr (!HasSlot<P>) {
    static_assert(slots::holds<HasSlot<P>>,
                  "EXPERT-E001: not a policy: it has no slot. Add `using slot = expert::slots::...;`.");
  } else if constexpr (!KnownSlot<typename P::slot>) {
    static_assert(
        slots::holds<KnownSlot<typename P::slot>>,
        "EXPERT-E005: no stage reads this slot, so the policy would have no effect. Use one of expert::slots.");
  } else {
    P::slot::template explain<P>();
    if constexpr (HasRules<P>) P::explain();
    static_assert(slots::holds<HasDescribe<P>>,
                  "EXPERT-E002: this policy does not say what it means in the manifest. Add `static constexpr auto "
                  "describe()` returning a std::array of Field.");
    static_assert(std::is_empty_v<P>, "EXPERT-E003: a policy holds no data. Make its members static constexpr.");
  }
}

template <class Slot, class... Ps>
inline constexpr bool filled_once = (0 + ... + int{std::same_as<typename Ps::slot, Slot>}) <= 1;

template <class... Ps>
void explain_slots() {
  static_assert((filled_once<typename Ps::slot, Ps...> && ...),
                "EXPERT-E010: two of these policies fill the same slot. Keep one.");
}

namespace detail {
template <auto... Functions>
struct Instantiate {};  // naming Instantiate<&f> has f compiled
}  // namespace detail

}  // namespace v0
}  // namespace expert
