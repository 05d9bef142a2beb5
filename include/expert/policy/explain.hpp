// What can be wrong with one policy, or with two in one slot -> one numbered sentence. These structs are instantiated
// only when something is wrong; the compiler then prints explain_policy<TheUsersType>.
#pragma once
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

template <class P>
struct explain_policy {
  static_assert(HasSlot<P>, "EXPERT-E001: not a policy: it has no slot. Add `using slot = expert::slots::...;`.");
};

// One assertion per missing piece, in the order in which a reader would fix them.
template <HasSlot P>
  requires KnownSlot<typename P::slot>
struct explain_policy<P> : P::slot::template explain<P> {
  static_assert(HasDescribe<P>,
                "EXPERT-E002: this policy does not say what it means in the manifest. Add `static constexpr auto "
                "describe()` returning a std::array of Field.");
  static_assert(std::is_empty_v<P>, "EXPERT-E003: a policy holds no data. Make its members static constexpr.");
};

template <HasSlot P>
  requires(!KnownSlot<typename P::slot>)
struct explain_policy<P> {
  static_assert(KnownSlot<typename P::slot>,
                "EXPERT-E005: no stage reads this slot, so the policy would have no effect. Use one of expert::slots.");
};

template <class Slot, class... Ps>
inline constexpr bool filled_once = (0 + ... + int{std::same_as<typename Ps::slot, Slot>}) <= 1;

template <class Slot, class... Ps>
struct explain_slot {
  static_assert(filled_once<Slot, Ps...>, "EXPERT-E010: two of these policies fill the same slot. Keep one.");
};

}  // namespace v0
}  // namespace expert
