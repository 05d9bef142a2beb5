// What must hold between policies: one concept, one number and one sentence each. The compiler prints the concept's
// name beside the sentence.
#pragma once
#include <concepts>

#include "expert/policy/adapter.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

namespace rules {

template <class Quant, class Tuning>
concept BaseCanTakeGradient = Quant::takes_gradient || !Tuning::trains_base;
template <class Adapter, class Tuning>
concept SomethingIsTrained = Tuning::trains_base || (Tuning::trains_adapter && !std::same_as<Adapter, NoAdapter>);
template <class Adapter, class Tuning>
concept AdapterIsTrained = std::same_as<Adapter, NoAdapter> || Tuning::trains_adapter || !Tuning::trains_base;
template <class Packing, class Batch>
inline constexpr std::int64_t batch_tokens = Packing::max_seq_length * Batch::batch_size;
template <class Packing, class Batch, class Loss>
concept ChunksDivide =
    Loss::chunk_rows >= batch_tokens<Packing, Batch> || batch_tokens<Packing, Batch> % Loss::chunk_rows == 0;
template <class Packing, class Rope, class Model>
concept RowsFitTheContext = Packing::max_seq_length <= Rope::longest_context(Model::max_position_embeddings);
template <class Validation, class Grammar>
concept ParserKnowsTheLanguage = !Validation::needs_language || Grammar::use_grammar;

}  // namespace rules

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
