// Policies in any order -> one type: Expert<Ps...> is BasicExpert<...> in canonical order, defaults filling the empty
// slots; With<E, Ps...> is E with the policies of those slots replaced.
#pragma once
#include <type_traits>
#include <utility>

#include "expert/policy/adapter.hpp"
#include "expert/policy/attention.hpp"
#include "expert/policy/batching.hpp"
#include "expert/policy/budget.hpp"
#include "expert/policy/compute.hpp"
#include "expert/policy/data.hpp"
#include "expert/policy/decoding.hpp"
#include "expert/policy/explain.hpp"
#include "expert/policy/head.hpp"
#include "expert/policy/loss.hpp"
#include "expert/policy/model.hpp"
#include "expert/policy/optimizer.hpp"
#include "expert/policy/quant.hpp"
#include "expert/policy/rope.hpp"
#include "expert/policy/rules.hpp"
#include "expert/policy/runtime.hpp"
#include "expert/policy/tuning.hpp"

namespace expert {
inline namespace v0 {

template <class... Ps>
struct PolicyList {};

// What every stage takes: one policy per slot, in this order. Write Expert<...>, not this. The rules are checked when
// the class is used, not when it is named, because With<...> may mend a combination first.
template <class Model, class Rope, class Adapter, class Quant, class Head, class Compute, class Attention,
          class Packing, class Batch, class Tuning, class Recompute, class Loss, class Optimizer, class Grammar,
          class Validation, class Kv, class DecodeBatches, class ChatTemplate, class Budget>
struct BasicExpert {
  using model = Model;
  using rope = Rope;
  using adapter = Adapter;
  using quant = Quant;
  using head = Head;
  using compute = Compute;
  using attention = Attention;
  using packing = Packing;
  using batch = Batch;
  using tuning = Tuning;
  using recompute = Recompute;
  using loss = detail::LossFor<Loss, Packing::max_seq_length * Batch::batch_size>;
  using optimizer = Optimizer;
  using grammar = Grammar;
  using validation = Validation;
  using kv = Kv;
  using decode_batches = DecodeBatches;
  using chat_template = ChatTemplate;
  using budget = Budget;
  using policies = PolicyList<Model, Rope, Adapter, Quant, Head, Compute, Attention, Packing, Batch, Tuning, Recompute,
                              Loss, Optimizer, Grammar, Validation, Kv, DecodeBatches, ChatTemplate, Budget>;
  using rules = detail::Instantiate<&check_rules<BasicExpert>>;
};

namespace detail {

template <class P, class Q>
concept FillsSlotOf = HasSlot<P> && std::same_as<typename P::slot, typename Q::slot>;

// Look-up by overload: Entries derives from one Entry per policy, so find<Slot> costs one deduction instead of a
// recursion over the list.
template <class Slot, class P>
struct Entry {};
template <class... Ps>
struct Entries : Entry<typename Ps::slot, Ps>... {};
template <class Slot, class Default, class P>
std::type_identity<P> find(const Entry<Slot, P>*);
template <class Slot, class Default>
std::type_identity<Default> find(const void*);
template <class Slot, class Default, class... Ps>
using pick = typename decltype(find<Slot, Default>(static_cast<const Entries<Ps...>*>(nullptr)))::type;

template <class... Ps>
using Assembled = BasicExpert<pick<slots::model, Qwen3_0_6B, Ps...>, pick<slots::rope, RopeDefault, Ps...>,
                              pick<slots::adapter, NoAdapter, Ps...>, pick<slots::quant, Bf16Weights, Ps...>,
                              pick<slots::head, HeadAsBase, Ps...>, pick<slots::compute, Compute<bf16>, Ps...>,
                              pick<slots::attention, SdpaAttention, Ps...>, pick<slots::packing, Packing<2048>, Ps...>,
                              pick<slots::batch, Batch<1>, Ps...>, pick<slots::tuning, AdapterOnly, Ps...>,
                              pick<slots::recompute, KeepActivations, Ps...>, pick<slots::loss, EvenChunks, Ps...>,
                              pick<slots::optimizer, AdamW, Ps...>, pick<slots::grammar, NoGrammar, Ps...>,
                              pick<slots::validation, NoValidation, Ps...>, pick<slots::kv, KvCache, Ps...>,
                              pick<slots::decode_batches, DecodeBatches<1, 2, 4, 8>, Ps...>,
                              pick<slots::chat_template, Qwen3Chat, Ps...>, pick<slots::budget, Budget<24_GiB>, Ps...>>;

// Where a policy is refused, a valid expert stands in for the result, so that nothing cascades from the first mistake.
template <class... Ps>
struct Refused {
  using type = Assembled<DoRA<8>>;
  using reasons = Instantiate<&explain_policy<Ps>...>;
};
template <class... Ps>
struct FilledTwice {
  using type = Assembled<DoRA<8>>;
  using reasons = Instantiate<&explain_slots<Ps...>>;
};
template <class... Ps>
struct Accepted {
  using type = Assembled<Ps...>;
};

template <class... Ps>
consteval auto judge() {
  if constexpr (!(Policy<Ps> && ...)) {
    return std::type_identity<Refused<Ps...>>{};
  } else if constexpr (!(filled_once<typename Ps::slot, Ps...> && ...)) {
    return std::type_identity<FilledTwice<Ps...>>{};
  } else {
    return std::type_identity<Accepted<Ps...>>{};
  }
}

}  // namespace detail

template <class... Ps>
using Expert = typename decltype(detail::judge<Ps...>())::type::type;

namespace detail {

template <class Kept, class Rest, class... Ps>
struct Replace;
template <class... Kept, class... Ps>
struct Replace<PolicyList<Kept...>, PolicyList<>, Ps...> : std::type_identity<Expert<Kept..., Ps...>> {};
template <class... Kept, class Q, class... Rest, class... Ps>
struct Replace<PolicyList<Kept...>, PolicyList<Q, Rest...>, Ps...>
    : std::conditional_t<(FillsSlotOf<Ps, Q> || ...), Replace<PolicyList<Kept...>, PolicyList<Rest...>, Ps...>,
                         Replace<PolicyList<Kept..., Q>, PolicyList<Rest...>, Ps...>> {};

template <class E, class... Ps>
struct WithPolicies;
template <class... Qs, class... Ps>
struct WithPolicies<BasicExpert<Qs...>, Ps...> : Replace<PolicyList<>, PolicyList<Qs...>, Ps...> {};

}  // namespace detail

template <class E, class... Ps>
using With = typename detail::WithPolicies<E, Ps...>::type;

}  // namespace v0
}  // namespace expert
