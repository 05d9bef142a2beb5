// What must hold between policies: one name, one number and one sentence each. The
// compiler prints the name with both types beside the sentence; constants rather than concepts, whose anatomy takes g++
// another dozen lines.
#pragma once
#include <concepts>

#include "expert/policy/adapter.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

namespace rules {

template <class Quant, class Tuning>
inline constexpr bool base_can_take_gradient = Quant::takes_gradient || !Tuning::trains_base;
template <class Adapter, class Tuning>
inline constexpr bool something_is_trained =
    Tuning::trains_base || (Tuning::trains_adapter && !std::same_as<Adapter, NoAdapter>);
template <class Adapter, class Tuning>
inline constexpr bool adapter_is_trained =
    std::same_as<Adapter, NoAdapter> || Tuning::trains_adapter || !Tuning::trains_base;
template <class Adapter, class Tuning>
inline constexpr bool one_of_both_is_trained =
    std::same_as<Adapter, NoAdapter> || !Tuning::trains_base || !Tuning::trains_adapter;
template <class Packing, class Batch>
inline constexpr std::int64_t batch_tokens = Packing::max_seq_length * Batch::batch_size;
template <class Packing, class Batch, class Loss>
inline constexpr bool chunks_divide =
    Loss::chunk_rows >= batch_tokens<Packing, Batch> || batch_tokens<Packing, Batch> % Loss::chunk_rows == 0;
template <class Packing, class Rope, class Model>
inline constexpr bool rows_fit_the_context =
    Packing::max_seq_length <= Rope::longest_context(Model::max_position_embeddings);
template <class Validation, class Grammar>
inline constexpr bool parser_knows_the_language = !Validation::needs_language || Grammar::use_grammar;

}  // namespace rules

// Compiled with the members of BasicExpert, when an expert is used.
template <class E>
void check_rules() {
  static_assert(
      rules::base_can_take_gradient<typename E::quant, typename E::tuning>,
      "EXPERT-E012: the base weights are quantised integers and take no gradient, but this tuning trains them. Use "
      "DoRA<r> or LoRA<r> with AdapterOnly (QLoRA), or Bf16Weights with FullFineTune.");
  static_assert(rules::something_is_trained<typename E::adapter, typename E::tuning>,
                "EXPERT-E013: nothing is trained. Add DoRA<r> or LoRA<r>, or choose FullFineTune.");
  static_assert(rules::adapter_is_trained<typename E::adapter, typename E::tuning>,
                "EXPERT-E028: the base is trained while the adapter stands still. Use NoAdapter with FullFineTune, or "
                "AdapterOnly.");
  static_assert(rules::one_of_both_is_trained<typename E::adapter, typename E::tuning>,
                "EXPERT-E085: this tuning trains the base and the adapter at once; there are gradients of one of them. "
                "Use AdapterOnly, or NoAdapter with FullFineTune.");
  static_assert(
      rules::chunks_divide<typename E::packing, typename E::batch, typename E::loss>,
      "EXPERT-E017: the tokens of a batch (max_seq_length * batch_size) are not a multiple of the loss chunk. "
      "Choose chunk_rows that divides them, or EvenChunks.");
  static_assert(
      rules::rows_fit_the_context<typename E::packing, typename E::rope, typename E::model>,
      "EXPERT-E018: rows are longer than the context that model and rope allow. Lower Packing, or scale RoPE.");
  static_assert(rules::parser_knows_the_language<typename E::validation, typename E::grammar>,
                "EXPERT-E019: this validation parses a language that no grammar policy names. Add Grammar<...>, or use "
                "NoValidation.");
}

// Both numbers appear in the compiler's message. A stage derives from fits<...> of its plan.
template <std::int64_t NeededMiB, std::int64_t BudgetMiB>
struct fits {
  static_assert(
      NeededMiB <= BudgetMiB,
      "EXPERT-E030: this expert does not fit its budget, see fits<NeededMiB, BudgetMiB>. Lower Batch, Packing or "
      "the loss chunk, quantise the base weights, or raise Budget.");
};

}  // namespace v0
}  // namespace expert
