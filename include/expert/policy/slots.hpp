// Every slot of an expert: a tag that knows what it asks of its policies. `accepts` decides; explain() holds the
// sentences and is instantiated only on refusal, so that one mistake is one error.
#pragma once
#include "expert/policy/policy.hpp"

namespace expert {
inline namespace v0 {

struct NoAdapter;  // the only policy of its slot without a rank: policy/adapter.hpp
struct AdamW;      // its rule, and that of what has a `momentum`, is in optimizer.hpp

// What an update rule is told beside the arrays.
struct UpdateStep {
  std::int64_t step = 1;  // counted from 1
  double learning_rate = 0, weight_decay = 0;
  double clip = 1;  // gradients are to be multiplied by it
};

// What backward computes a second time in place of keeping it.
enum class Recompute : std::uint8_t { none, attention, layers };
constexpr std::string_view name_of(Recompute mode) {
  constexpr std::string_view names[] = {"none", "attention", "layers"};
  return names[static_cast<int>(mode)];
}

// A tensor that an adapter with parameters of its own trains.
struct OwnTensor {
  std::string_view name;
  std::int64_t size = 0;
};

namespace slots {

// A constant around a concept keeps the compilers from adding its anatomy, in more lines that read "error:".
template <bool Claim>
inline constexpr bool holds = Claim;

template <class P>
concept HasSizes = requires {
  P::hidden_size, P::num_hidden_layers, P::num_attention_heads, P::num_key_value_heads, P::head_dim,
      P::intermediate_size, P::vocab_size, P::tie_word_embeddings, P::max_position_embeddings, P::rms_norm_eps,
      P::rope_theta;
};
template <class P>
concept SizesArePositive =
    P::hidden_size > 0 && P::num_hidden_layers > 0 && P::num_attention_heads > 0 && P::num_key_value_heads > 0 &&
    P::head_dim > 0 && P::intermediate_size > 0 && P::vocab_size > 0 && P::max_position_embeddings > 0;
template <class P>
concept HeadsDivide = !SizesArePositive<P> || P::num_attention_heads % P::num_key_value_heads == 0;
template <class P>
concept HeadDimIsEven = P::head_dim % 2 == 0;
struct model {
  template <class P>
  static constexpr bool accepts = HasSizes<P> && SizesArePositive<P> && HeadsDivide<P> && HeadDimIsEven<P>;
  template <class P>
  static void explain() {
    static_assert(
        holds<HasSizes<P>>,
        "EXPERT-E060: a model policy needs the sizes of config.json as static constexpr members: hidden_size, "
        "num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, intermediate_size, vocab_size, "
        "tie_word_embeddings, max_position_embeddings, rms_norm_eps, rope_theta. Derive from HfDecoder<...>.");
    if constexpr (HasSizes<P>) {
      static_assert(holds<SizesArePositive<P>>,
                    "EXPERT-E011: a size of the model is zero or negative. Take it from config.json.");
      static_assert(holds<HeadsDivide<P>>,
                    "EXPERT-E014: num_attention_heads is not a multiple of num_key_value_heads, so query heads cannot "
                    "share key heads evenly. Change one of the two.");
      static_assert(
          holds<HeadDimIsEven<P>>,
          "EXPERT-E015: head_dim is odd, but rotary embedding turns pairs of dimensions. Use an even head_dim.");
    }
  }
};

template <class P>
concept RotatesPositions = requires(std::span<float> out, double theta, std::int64_t n) {
  { P::inv_freq(out, theta, n, n, n) } -> std::convertible_to<float>;
  { P::longest_context(n) } -> std::convertible_to<std::int64_t>;
};
struct rope {
  template <class P>
  static constexpr bool accepts = RotatesPositions<P>;
  template <class P>
  static void explain() {
    static_assert(holds<RotatesPositions<P>>,
                  "EXPERT-E061: a rope policy needs `static float inv_freq(std::span<float> out, double theta, "
                  "std::int64_t head_dim, std::int64_t max_position_embeddings, std::int64_t context_length)` and "
                  "`static constexpr std::int64_t longest_context(std::int64_t max_position_embeddings)`. Add them.");
  }
};

template <class P>
concept HasRank = requires { P::r; };
template <class P>
concept RankIsPositive = P::r > 0 || std::same_as<P, NoAdapter>;
template <class P>
concept AlphaIsPositive = !RankIsPositive<P> || !requires { P::alpha; } || P::alpha > 0 || std::same_as<P, NoAdapter>;
template <class P>
concept HasFactors = requires {
  P::alpha, P::target_modules, P::is_dora, P::dropout_product, P::rank_stabilized;
  { P::scaling() } -> std::convertible_to<double>;
  &P::targets;
};
// An adapter may train parameters of its own, of which A (r, in) and B (out, r) are functions:
//   tensors(out, in)                          names and sizes, in the order in which they lie
//   initialise(out, in, seed, own)            their first values; the seed differs by layer and projection
//   expand(out, in, own, a, b)                writes A and B; once per optimizer step
//   reduce(out, in, own, d_a, d_b, d_own)     adds the gradient of own that those of A and B make
template <class P>
concept HasOwnParameters = requires { &P::expand; } || requires { &P::reduce; };
template <class P>
concept OwnParametersAreWhole =
    !HasOwnParameters<P> || requires(std::int64_t n, std::uint64_t seed, const float* own, float* x) {
      { P::tensors(n, n).begin()->size } -> std::convertible_to<std::int64_t>;
      { P::initialise(n, n, seed, x) } noexcept;
      { P::expand(n, n, own, x, x) } noexcept;
      { P::reduce(n, n, own, own, own, x) } noexcept;
      requires !P::is_dora;
    };
// An adapter may fix its dropout, `static constexpr Ratio dropout`; without, it is a value of the run.
template <class P>
concept DropoutHasItsProduct = !requires { requires P::is_dora && (P::dropout.value() > 0) && !P::dropout_product; };
struct adapter {
  template <class P>
  static constexpr bool accepts = HasRank<P> && RankIsPositive<P> && AlphaIsPositive<P> && HasFactors<P> &&
                                  OwnParametersAreWhole<P> && DropoutHasItsProduct<P>;
  template <class P>
  static void explain() {
    static_assert(holds<HasRank<P>>,
                  "EXPERT-E004: an adapter policy needs `static constexpr std::int64_t r`. Add its rank.");
    if constexpr (HasRank<P>) {
      static_assert(holds<RankIsPositive<P>>,
                    "EXPERT-E021: an adapter's rank is at least 1. Raise r, or use NoAdapter.");
      static_assert(holds<AlphaIsPositive<P>>,
                    "EXPERT-E022: with alpha <= 0 the adapter is scaled away and learns nothing. Raise alpha.");
      if constexpr (RankIsPositive<P> && AlphaIsPositive<P>) {
        static_assert(holds<HasFactors<P>>,
                      "EXPERT-E080: an adapter policy needs alpha, target_modules, targets(Projection), scaling(), "
                      "is_dora, dropout_product and rank_stabilized. Derive from LoRA<r, alpha, Targets<...>>.");
        if constexpr (HasFactors<P>) {
          static_assert(holds<DropoutHasItsProduct<P>>,
                        "EXPERT-E082: DoRA with dropout needs a second product with the base weight, which this "
                        "policy has not. Use DoRAWithDropout<r>, or dropout 0.");
          static_assert(holds<OwnParametersAreWhole<P>>,
                        "EXPERT-E081: an adapter that trains parameters of its own needs tensors, initialise, expand "
                        "and reduce, the last three noexcept, and is_dora = false. See slots::OwnParametersAreWhole.");
        }
      }
    }
  }
};

template <class P>
concept HasWeightFormat = requires {
  P::kind, P::bits, P::block_size;
  { P::takes_gradient } -> std::convertible_to<bool>;
};
struct quant {
  template <class P>
  static constexpr bool accepts = HasWeightFormat<P>;
  template <class P>
  static void explain() {
    static_assert(
        holds<HasWeightFormat<P>>,
        "EXPERT-E062: a quant policy needs static constexpr kind, bits, block_size and takes_gradient. Add them.");
  }
};

template <class P>
concept HasHeadBits = requires { P::head_bits; };
struct head {
  template <class P>
  static constexpr bool accepts = HasHeadBits<P>;
  template <class P>
  static void explain() {
    static_assert(holds<HasHeadBits<P>>,
                  "EXPERT-E063: a head policy needs `static constexpr std::int64_t head_bits` (0: as in the "
                  "checkpoint). Add it.");
  }
};

template <class P>
concept HasComputeType = requires { typename P::type; };
struct compute {
  template <class P>
  static constexpr bool accepts = HasComputeType<P>;
  template <class P>
  static void explain() {
    static_assert(
        holds<HasComputeType<P>>,
        "EXPERT-E064: a compute policy needs `using type = float;` or bf16, the type of activations. Add it.");
  }
};

template <class P>
concept HasAttentionKernel = requires { P::attention_kernel; };
struct attention {
  template <class P>
  static constexpr bool accepts = HasAttentionKernel<P>;
  template <class P>
  static void explain() {
    static_assert(
        holds<HasAttentionKernel<P>>,
        "EXPERT-E065: an attention policy needs `static constexpr std::string_view attention_kernel`. Add it.");
  }
};

template <class P>
concept HasRowLength = requires { P::max_seq_length, P::packing; };
template <class P>
concept RowLengthIsPositive = P::max_seq_length > 0;
struct packing {
  template <class P>
  static constexpr bool accepts = HasRowLength<P> && RowLengthIsPositive<P>;
  template <class P>
  static void explain() {
    static_assert(holds<HasRowLength<P>>,
                  "EXPERT-E066: a packing policy needs static constexpr max_seq_length and packing. Add them.");
    if constexpr (HasRowLength<P>) {
      static_assert(holds<RowLengthIsPositive<P>>, "EXPERT-E027: max_seq_length is at least 1. Raise it.");
    }
  }
};

template <class P>
concept HasBatchSize = requires { P::batch_size; };
template <class P>
concept BatchSizeIsPositive = P::batch_size > 0;
struct batch {
  template <class P>
  static constexpr bool accepts = HasBatchSize<P> && BatchSizeIsPositive<P>;
  template <class P>
  static void explain() {
    static_assert(holds<HasBatchSize<P>>,
                  "EXPERT-E067: a batch policy needs `static constexpr std::int64_t batch_size`. Add it.");
    if constexpr (HasBatchSize<P>) {
      static_assert(holds<BatchSizeIsPositive<P>>, "EXPERT-E026: batch_size is at least 1. Raise it.");
    }
  }
};

template <class P>
concept HasTrainedParts = requires { P::trains_base, P::trains_adapter; };
struct tuning {
  template <class P>
  static constexpr bool accepts = HasTrainedParts<P>;
  template <class P>
  static void explain() {
    static_assert(holds<HasTrainedParts<P>>,
                  "EXPERT-E068: a tuning policy needs static constexpr bool trains_base and trains_adapter. Add them.");
  }
};

template <class P>
concept HasRecompute = requires { Recompute{P::modes.front()}; };
struct recompute {
  template <class P>
  static constexpr bool accepts = HasRecompute<P>;
  template <class P>
  static void explain() {
    static_assert(holds<HasRecompute<P>>,
                  "EXPERT-E069: a recompute policy needs `static constexpr std::array modes{Recompute::...}`. Add it.");
  }
};

template <class P>
concept HasChunkRows = requires { P::chunk_rows; };
template <class P>
concept ChunkRowsArePositive = P::chunk_rows > 0;
template <class P>
concept VocabRowsArePositive = !requires { P::vocab_rows; } || requires { requires P::vocab_rows > 0; };
struct loss {
  template <class P>
  static constexpr bool accepts = HasChunkRows<P> && ChunkRowsArePositive<P> && VocabRowsArePositive<P>;
  template <class P>
  static void explain() {
    static_assert(holds<HasChunkRows<P>>,
                  "EXPERT-E070: a loss policy needs `static constexpr std::int64_t chunk_rows`. Add it.");
    if constexpr (HasChunkRows<P>) {
      static_assert(holds<ChunkRowsArePositive<P>>,
                    "EXPERT-E016: a loss chunk has at least one row. Raise chunk_rows.");
    }
    static_assert(holds<VocabRowsArePositive<P>>,
                  "EXPERT-E084: a recomputed loss has at least one logit of a row at once. Raise vocab_rows.");
  }
};

template <class P>
concept HasOptimizerName = requires { P::optim, P::moments; };
template <class P>
concept MomentsAreStored = P::moments >= 0 && P::moments <= 2;
// A rule of one's own: it updates n parameters, and is called for disjoint pieces from several threads at once.
template <class P>
concept UpdatesParameters = requires(const UpdateStep& step, std::int64_t n, float* x, const float* gradients) {
  { P::update(step, n, x, gradients, x, x) } noexcept;
};
template <class P>
concept HasUpdateRule = UpdatesParameters<P> || std::same_as<P, AdamW> || requires { P::momentum; };
struct optimizer {
  template <class P>
  static constexpr bool accepts = HasOptimizerName<P> && MomentsAreStored<P> && HasUpdateRule<P>;
  template <class P>
  static void explain() {
    static_assert(holds<HasOptimizerName<P>>,
                  "EXPERT-E071: an optimizer policy needs static constexpr optim, its name, and moments, the number of "
                  "f32 states per parameter. Add them.");
    if constexpr (HasOptimizerName<P>) {
      static_assert(holds<MomentsAreStored<P>>,
                    "EXPERT-E078: an optimizer keeps 0, 1 or 2 moments per parameter. Change moments.");
      static_assert(holds<HasUpdateRule<P>>,
                    "EXPERT-E079: an optimizer policy needs its rule, `static void update(const UpdateStep&, "
                    "std::int64_t n, float* parameters, const float* gradients, float* first_moment, float* "
                    "second_moment) noexcept`. Add it.");
    }
  }
};

template <class P>
concept HasGrammarType = requires { P::use_grammar, P::grammar_type; };
struct grammar {
  template <class P>
  static constexpr bool accepts = HasGrammarType<P>;
  template <class P>
  static void explain() {
    static_assert(holds<HasGrammarType<P>>,
                  "EXPERT-E072: a grammar policy needs static constexpr use_grammar and grammar_type. Add them.");
  }
};

template <class P>
concept HasParserFlag = requires { P::needs_language; };
struct validation {
  template <class P>
  static constexpr bool accepts = HasParserFlag<P>;
  template <class P>
  static void explain() {
    static_assert(
        holds<HasParserFlag<P>>,
        "EXPERT-E073: a validation policy needs `static constexpr bool needs_language`: whether it parses the "
        "language of the grammar policy. Add it.");
  }
};

template <class P>
concept HasCacheFlags = requires { P::caches, P::persists; };
template <class P>
concept OnlyACachePersists = P::caches || !P::persists;
struct kv {
  template <class P>
  static constexpr bool accepts = HasCacheFlags<P> && OnlyACachePersists<P>;
  template <class P>
  static void explain() {
    static_assert(holds<HasCacheFlags<P>>,
                  "EXPERT-E074: a kv policy needs static constexpr bool caches and persists. Add them.");
    if constexpr (HasCacheFlags<P>) {
      static_assert(
          holds<OnlyACachePersists<P>>,
          "EXPERT-E025: this kv policy persists a cache that it does not keep. Use KvPersistence or NoKvCache.");
    }
  }
};

template <class P>
concept HasDecodeBatches = requires { Integers(P::supported_batch_sizes); };
struct decode_batches {
  template <class P>
  static constexpr bool accepts = HasDecodeBatches<P>;
  template <class P>
  static void explain() {
    static_assert(
        holds<HasDecodeBatches<P>>,
        "EXPERT-E075: a decode_batches policy needs `static constexpr std::array supported_batch_sizes`. Add it.");
  }
};

template <class P>
concept HasPromptTemplate = requires { P::prompt_template; };
struct chat_template {
  template <class P>
  static constexpr bool accepts = HasPromptTemplate<P>;
  template <class P>
  static void explain() {
    static_assert(
        holds<HasPromptTemplate<P>>,
        "EXPERT-E076: a chat_template policy needs `static constexpr std::string_view prompt_template`. Add it.");
  }
};

template <class P>
concept HasBudget = requires { P::bytes; };
struct budget {
  template <class P>
  static constexpr bool accepts = HasBudget<P>;
  template <class P>
  static void explain() {
    static_assert(holds<HasBudget<P>>,
                  "EXPERT-E077: a budget policy needs `static constexpr std::int64_t bytes`. Add it.");
  }
};

}  // namespace slots

// A tag that is none of ours is read by no stage: a policy for it would be decoration.
template <class Slot>
concept KnownSlot =
    std::same_as<Slot, slots::model> || std::same_as<Slot, slots::rope> || std::same_as<Slot, slots::adapter> ||
    std::same_as<Slot, slots::quant> || std::same_as<Slot, slots::head> || std::same_as<Slot, slots::compute> ||
    std::same_as<Slot, slots::attention> || std::same_as<Slot, slots::packing> || std::same_as<Slot, slots::batch> ||
    std::same_as<Slot, slots::tuning> || std::same_as<Slot, slots::recompute> || std::same_as<Slot, slots::loss> ||
    std::same_as<Slot, slots::optimizer> || std::same_as<Slot, slots::grammar> ||
    std::same_as<Slot, slots::validation> || std::same_as<Slot, slots::kv> ||
    std::same_as<Slot, slots::decode_batches> || std::same_as<Slot, slots::chat_template> ||
    std::same_as<Slot, slots::budget>;
template <class P>
concept FitsItsSlot = KnownSlot<typename P::slot> && P::slot::template accepts<P>;
// A policy with parameters may have rules of its own: `valid` decides, explain() holds the sentences.
template <class P>
concept HasRules = requires { P::valid; };
template <class P>
concept KeepsItsRules = !HasRules<P> || P::valid;
template <class P>
concept Policy = HasSlot<P> && HasDescribe<P> && std::is_empty_v<P> && FitsItsSlot<P> && KeepsItsRules<P>;

}  // namespace v0
}  // namespace expert
