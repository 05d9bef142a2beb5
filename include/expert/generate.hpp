// 10. Prompts as token ids -> new token ids: prefill, a key-value cache, greedy or sampled decoding in batches.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "expert/core/arena.hpp"
#include "expert/core/config.hpp"
#include "expert/core/error.hpp"
#include "expert/core/random.hpp"
#include "expert/cpu/pack.hpp"
#include "expert/cpu/sample.hpp"
#include "expert/forward.hpp"
#include "expert/grammar/mask_kernels.hpp"
#include "expert/plan/memory.hpp"
#include "expert/weights.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode context_too_long{310, "the context is longer than the expert's rope policy allows"};
inline constexpr ErrorCode prompt_refused{311, "a prompt cannot be generated from"};
inline constexpr ErrorCode nothing_to_sample{312, "the logits hold NaN or leave no token to choose"};
inline constexpr ErrorCode sampling_option{313, "a sampling option is out of range"};
inline constexpr ErrorCode decode_batch{314, "the expert does not decode this many sequences at once"};

struct GeneratorOptions {
  std::int64_t context_length = 2048;  // prompt and output together, fixed: rope tables and cache are made for it
  std::int64_t rows = 1;               // prompts decoded at once: one of the expert's supported_batch_sizes
  std::int64_t prefill_tokens = 256;   // prompt tokens computed at once
};

struct GenerateOptions {
  std::int64_t max_new_tokens = 256;
  bool do_sample = false;  // false: greedy, the warpers are not applied (transformers' default)
  SamplingOptions sampling = {};
  std::uint64_t seed = 42;
  std::vector<std::int32_t> eos_token_id = {};  // any of them ends a row and is not part of its output
};

enum class StopReason : std::uint8_t { eos, length, context, callback };
constexpr std::string_view name_of(StopReason r) {
  constexpr std::string_view names[] = {"eos", "length", "context", "stop"};
  return names[static_cast<std::size_t>(r)];
}

struct Generated {
  std::vector<std::int32_t> ids;
  StopReason stop_reason = StopReason::length;
};

// Throws EXPERT-E313 naming the option.
inline void check_options(const GenerateOptions& o) {
  const auto require = [](bool ok, const char* name, const char* expected, double got) {
    if (!ok)
      throw Error(sampling_option,
                  {.where = name, .expected = expected, .got = std::to_string(got), .fix = "Change the option"});
  };
  const SamplingOptions& s = o.sampling;
  require(o.max_new_tokens > 0, "max_new_tokens", "a positive number", static_cast<double>(o.max_new_tokens));
  require(s.temperature > 0 && std::isfinite(s.temperature), "temperature",
          "a positive number (greedy is do_sample false)", s.temperature);
  require(s.top_k >= 0, "top_k", "0 or more", static_cast<double>(s.top_k));
  require(s.top_p >= 0 && s.top_p <= 1, "top_p", "a number from 0 to 1", s.top_p);
  require(s.min_p >= 0 && s.min_p <= 1, "min_p", "a number from 0 to 1", s.min_p);
  require(s.repetition_penalty > 0 && std::isfinite(s.repetition_penalty), "repetition_penalty", "a positive number",
          s.repetition_penalty);
}

// The supported batch size that `prompts` fill best: the smallest that holds them, or the largest there is.
template <class E>
constexpr std::int64_t decode_rows(std::int64_t prompts) {
  std::int64_t best = 0;
  for (const std::int64_t size : E::decode_batches::supported_batch_sizes)
    if (best == 0 || (best < prompts ? size > best : size >= prompts && size < best)) best = size;
  return best;
}

// Throws EXPERT-E314 where supported_batch_sizes has no such size.
template <class E>
void check_decode_rows(std::int64_t rows) {
  const auto& sizes = E::decode_batches::supported_batch_sizes;
  if (std::find(std::begin(sizes), std::end(sizes), rows) != std::end(sizes)) return;
  std::string supported;
  for (const std::int64_t size : sizes) supported.append(supported.empty() ? "" : ", ").append(std::to_string(size));
  throw Error(decode_batch, {.where = "/perf/supported_batch_sizes",
                             .expected = std::move(supported),
                             .got = std::to_string(rows),
                             .fix = "Choose one of these, or compile the expert with DecodeBatches<...>"});
}

// Everything lies in one arena laid out by GenerationPlan<E>; the adapter (null: the base alone) is copied into it.
template <class E>
class Generator {
 public:
  using M = typename E::model;
  using T = typename E::compute::type;
  using Plan = GenerationPlan<E>;
  // Stands for bool on_token(std::size_t prompt, std::span<const std::int32_t> ids), called after each token with the
  // ids so far; false ends that row with StopReason::callback. It may have void ended(std::size_t prompt, const
  // Generated&), called once when a row is finished.
  struct GoOn {
    bool operator()(std::size_t, std::span<const std::int32_t>) const noexcept { return true; }
  };
  // Stands for what decides which tokens may come next, as GrammarConstraint (grammar/constraint.hpp) does:
  //   std::span<const std::uint64_t> mask(std::size_t prompt)                       a bit for each token; empty: all
  //   std::vector<std::int32_t> forced(std::size_t prompt, std::int64_t limit)      tokens that must come, in order
  //   bool accept(std::size_t prompt, std::int32_t id)                              false ends the row (callback)
  // and, if it likes, bool fits(std::size_t prompt, std::int32_t id): false has another token chosen by a new mask,
  // until it gives true.
  struct AnyToken {
    std::span<const std::uint64_t> mask(std::size_t) const noexcept { return {}; }
    std::span<const std::int32_t> forced(std::size_t, std::int64_t) const noexcept { return {}; }
    bool accept(std::size_t, std::int32_t) const noexcept { return true; }
  };

  // adapter: AdapterLayout<E>::size numbers or null. Throws EXPERT-E310 and E314.
  Generator(CpuDevice& device, const Weights<E>& weights, const float* adapter, GeneratorOptions options)
      : cpu_(device.cpu()),
        model_(weights.view()),
        options_(checked(options)),
        arena_(Plan::regions(options.rows, options.context_length, std::max(options.rows, options.prefill_tokens),
                             adapter != nullptr)),
        length_(static_cast<std::size_t>(options.rows), 0) {
    if constexpr (E::head::head_bits == 8) quantize_head();
    context_.model = &model_;
    context_.rope = make_rope_table<E>(options.context_length, floats(Plan::rope_tables));
    if constexpr (detail::adapts<E>) {
      if (adapter != nullptr) bind_adapter(adapter);
    }
  }
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  // Answers in the order of the prompts. Forced tokens are not drawn, and computed together. Throws EXPERT-E311 to
  // E313.
  template <class OnToken = GoOn, class Constraint = AnyToken>
  std::vector<Generated> generate(std::span<const std::vector<std::int32_t>> prompts, const GenerateOptions& options,
                                  const OnToken& on_token = {}, Constraint&& constraint = {}) {
    check_options(options);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      check_prompt(i, prompts[i], 0);
      check_begins_with_prefix(i, prompts[i]);
    }
    std::vector<Generated> results(prompts.size());
    for (std::size_t first = 0; first < prompts.size(); first += static_cast<std::size_t>(options_.rows)) {
      const std::size_t count = std::min(static_cast<std::size_t>(options_.rows), prompts.size() - first);
      decode(prompts.subspan(first, count), first, options, on_token, constraint,
             std::span(results).subspan(first, count));
    }
    return results;
  }

  // Low level: empties a row's cache; appends tokens to it and returns the logits of the last one (vocab_size, valid
  // until the next call).
  void reset(std::int64_t row) { length_[static_cast<std::size_t>(row)] = 0; }
  std::span<const T> append(std::int64_t row, std::span<const std::int32_t> ids) {
    check_prompt(static_cast<std::size_t>(row), ids, length_[static_cast<std::size_t>(row)]);
    for (std::size_t first = 0; first < ids.size();) {
      const auto n = std::min(ids.size() - first, static_cast<std::size_t>(options_.prefill_tokens));
      for (std::size_t i = 0; i < n; ++i) stage(static_cast<std::int64_t>(i), row, ids[first + i]);
      forward(static_cast<std::int64_t>(n));
      first += n;
      const std::int64_t last[] = {static_cast<std::int64_t>(n) - 1};
      if (first == ids.size()) head(last);
    }
    return {at(Plan::logits), static_cast<std::size_t>(M::vocab_size)};
  }
  const Arena& arena() const { return arena_; }

  // Every later prompt begins with these tokens: their keys and values are computed once, in row 0, and copied to the
  // other rows. An empty list ends that. In f32 no bit changes; in bf16 a rest of at most gemv_rows tokens is computed
  // as tokens of an output are, not as those of a long prompt (docs/decisions/0007). Throws EXPERT-E311.
  void share_prefix(std::span<const std::int32_t> ids) {
    prefix_.clear();
    reset(0);
    if (ids.empty()) return;
    check_prompt(0, ids, 1);
    append(0, ids);
    adopt_prefix(ids);
  }
  std::span<const std::int32_t> prefix() const { return prefix_; }
  // What generate() asks of every prompt: the shared tokens, and at least one more.
  bool begins_with_prefix(std::span<const std::int32_t> prompt) const {
    return prompt.size() > prefix_.size() && std::equal(prefix_.begin(), prefix_.end(), prompt.begin());
  }
  // Row 0 holds keys and values of these tokens already (kv_cache_file.hpp).
  void adopt_prefix(std::span<const std::int32_t> ids) {
    prefix_.assign(ids.begin(), ids.end());
    const std::int64_t n = std::ssize(prefix_) * M::head_dim;
    for (std::int64_t l = 0; l < M::num_hidden_layers; ++l)
      for (std::int64_t head = 0; head < M::num_key_value_heads; ++head)
        for (std::int64_t row = 1; row < options_.rows; ++row) {
          std::copy_n(keys(l, head, 0), n, keys(l, head, row));
          std::copy_n(values(l, head, 0), n, values(l, head, row));
        }
  }
  // (context_length, head_dim) of one layer, key head and row; rotated keys. A head's keys lie side by side, those of
  // all rows, since decoding reads them head by head.
  T* keys(std::int64_t layer, std::int64_t head, std::int64_t row) const {
    return at(Plan::key_cache) + cache_offset(layer, head, row);
  }
  T* values(std::int64_t layer, std::int64_t head, std::int64_t row) const {
    return at(Plan::value_cache) + cache_offset(layer, head, row);
  }
  const ModelView<E>& model() const { return model_; }
  const AdapterView<E>* adapter() const { return context_.adapter; }
  const GeneratorOptions& options() const { return options_; }

 private:
  std::int64_t cache_offset(std::int64_t layer, std::int64_t head, std::int64_t row) const {
    return ((layer * M::num_key_value_heads + head) * options_.rows + row) * options_.context_length * M::head_dim;
  }
  T* at(std::size_t region) const { return arena_.at<T>(region); }
  float* floats(std::size_t region) const { return arena_.at<float>(region); }
  std::int32_t* ints(std::size_t region) const { return arena_.at<std::int32_t>(region); }

  static GeneratorOptions checked(GeneratorOptions o) {
    const std::int64_t longest = E::rope::longest_context(M::max_position_embeddings);
    if (o.context_length < 1 || o.context_length > longest || o.rows < 1 || o.prefill_tokens < 1)
      throw Error(context_too_long, {.where = "context_length",
                                     .expected = "1 to " + std::to_string(longest),
                                     .got = std::to_string(o.context_length),
                                     .fix = "Open a shorter context, or compile a rope policy that reaches further"});
    check_decode_rows<E>(o.rows);
    return o;
  }
  void check_prompt(std::size_t index, std::span<const std::int32_t> ids, std::int64_t cached) const {
    const auto refuse = [&](std::string expected, std::string got) {
      throw Error(prompt_refused,
                  {.where = "prompt " + std::to_string(index),
                   .expected = std::move(expected),
                   .got = std::move(got),
                   .fix = "Shorten the prompt or open a longer context; use the model's own tokenizer"});
    };
    if (ids.empty()) refuse("at least one token", "none");
    const std::int64_t room = options_.context_length - cached;
    if (std::cmp_greater(ids.size(), room))
      refuse("at most " + std::to_string(room) + " tokens", std::to_string(ids.size()));
    for (const std::int32_t id : ids)
      if (id < 0 || id >= M::vocab_size) refuse("token ids below " + std::to_string(M::vocab_size), std::to_string(id));
  }

  void check_begins_with_prefix(std::size_t index, std::span<const std::int32_t> ids) const {
    if (begins_with_prefix(ids)) return;
    throw Error(prompt_refused, {.where = "prompt " + std::to_string(index),
                                 .expected = "the " + std::to_string(prefix_.size()) + " shared tokens, and more",
                                 .got = std::to_string(ids.size()) + " tokens that do not begin with them",
                                 .fix = "Share what all prompts begin with, or share_prefix({})"});
  }

  // p: the f32 parameters, which are not kept: what is needed of them at full precision are DoRA's scales.
  void bind_adapter(const float* p) {
    using L = AdapterLayout<E>;
    T* values = at(Plan::adapter);
    convert(cpu_, L::size, p, values);
    constexpr std::int64_t r = E::adapter::r;
    for (std::int64_t l = 0; l < M::num_hidden_layers; ++l)
      for (const Projection q : all_projections)
        if (E::adapter::targets(q))
          for (std::int64_t b = L::at(l, q).b, out = out_features<M>(q), i = 0; i < out * r; ++i)
            values[b + i % r * out + i / r] = T(p[b + i]);
    if constexpr (E::adapter::is_dora) {
      float* square = floats(Plan::dora_weight_square);
      for (std::int64_t l = 0; l < M::num_hidden_layers; ++l)
        for (const Projection q : all_projections)
          if (E::adapter::targets(q))
            weight_row_squares(cpu_, model_.layers[static_cast<std::size_t>(l)][q], square + L::output_offset(l, q));
      refresh_dora<E>(cpu_, model_, p, square, floats(Plan::dora_product), floats(Plan::dora_norm),
                      floats(Plan::dora_scale));
    }
    adapter_ = {
        .values = values, .b_by_rank = true, .norm = floats(Plan::dora_norm), .scale = floats(Plan::dora_scale)};
    context_.adapter = &adapter_;
  }

  // Token i of the next pass: the next one of `row`.
  void stage(std::int64_t i, std::int64_t row, std::int32_t id) {
    const auto position = static_cast<std::int32_t>(length_[static_cast<std::size_t>(row)]++);
    const auto start = static_cast<std::int32_t>(row * options_.context_length);
    ints(Plan::input_ids)[i] = id;
    ints(Plan::positions)[i] = position;
    ints(Plan::cache_rows)[i] = start + position;
    arena_.at<KeyRanges>(Plan::key_ranges)[i] = {0, 0, start, start + position + 1};
  }

  void forward(std::int64_t n) noexcept {
    const TokenView tokens{
        n, ints(Plan::input_ids), ints(Plan::positions), arena_.at<KeyRanges>(Plan::key_ranges), ints(Plan::cache_rows),
        0};
    LayerBuffers<E> b{at(Plan::residual),
                      at(Plan::norm),
                      at(Plan::q),
                      at(Plan::k),
                      at(Plan::v),
                      at(Plan::q_rotated),
                      nullptr,
                      nullptr,
                      at(Plan::context),
                      at(Plan::o),
                      at(Plan::residual_mid),
                      at(Plan::norm),
                      at(Plan::gate),
                      at(Plan::up),
                      at(Plan::activation),
                      at(Plan::down),
                      at(Plan::residual),
                      floats(Plan::row_statistics),
                      floats(Plan::row_statistics),
                      floats(Plan::row_statistics),
                      floats(Plan::row_statistics),
                      floats(Plan::log_sum_exp),
                      {},
                      {},
                      {M::head_dim, options_.rows * options_.context_length * M::head_dim}};
    for (const Projection p : all_projections) {
      b.rank_rows[index_of(p)] = at(Plan::rank_rows);
      b.branch[index_of(p)] = at(Plan::branch);
    }
    embed<E>(cpu_, model_, tokens, b.x);
    for (std::int64_t l = 0; l < M::num_hidden_layers; ++l) {
      b.k_rotated = keys(l, 0, 0);
      b.v_scaled = values(l, 0, 0);
      layer_forward<E>(cpu_, context_, l, tokens, b);
    }
  }

  // Logits of the given rows of the last pass.
  void head(std::span<const std::int64_t> rows) noexcept {
    constexpr std::int64_t C = M::hidden_size;
    T* last = at(Plan::last_rows);
    const auto n = static_cast<std::int64_t>(rows.size());
    for (std::int64_t i = 0; i < n; ++i)
      std::copy_n(at(Plan::residual) + rows[static_cast<std::size_t>(i)] * C, C, last + i * C);
    rms_norm_forward(cpu_, n, C, static_cast<float>(M::rms_norm_eps), last, C, model_.norm, last, C,
                     floats(Plan::row_statistics));
    if constexpr (E::head::head_bits == 8) {
      linear_forward(cpu_, n, int8_head_, last, at(Plan::logits));
    } else {
      linear_forward(cpu_, n, model_.lm_head, last, at(Plan::logits));
    }
  }

  // model_.lm_head -> the copy that decoding reads.
  void quantize_head() noexcept {
    constexpr std::int64_t C = M::hidden_size;
    static_assert(C <= op_workspace_floats);
    int8_head_ = {packed_shape(PackedFormat::int8, M::vocab_size, C), M::vocab_size, C};
    auto* memory = arena_.at<std::byte>(Plan::head);
    const auto row_of = [&](std::int64_t i, float& absmax, int thread) noexcept {
      auto* codes = reinterpret_cast<std::int8_t*>(cpu_.gemm_workspace(thread));
      const auto quantize = [&](const auto* w) { reference::quantize_int8_row(w + i * C, C, codes, absmax); };
      if (model_.lm_head.storage == Storage::bf16)
        quantize(static_cast<const bf16*>(model_.lm_head.data));
      else
        quantize(static_cast<const float*>(model_.lm_head.data));
      return codes;
    };
    pack_int8(cpu_, int8_head_.packed, row_of, memory);
    int8_head_.packed.place(memory);
  }

  std::int32_t choose(std::size_t prompt, std::int64_t logits_row, std::span<const std::int32_t> history,
                      std::int64_t step, const GenerateOptions& options, std::span<const std::uint64_t> mask) {
    const T* row = at(Plan::logits) + logits_row * M::vocab_size;
    float* values = floats(Plan::sampling);
    const auto vocab = static_cast<std::size_t>(M::vocab_size);
    widen_logits(cpu_, M::vocab_size, row, values);
    if (!mask.empty()) apply_mask(values, vocab, mask.data(), cpu_.isa);
    std::int64_t id = -1;
    if (!options.do_sample) {
      id = greedy_token(cpu_, M::vocab_size, values);
    } else {
      const RandomStream stream(options.seed, Purpose::sample, static_cast<std::uint32_t>(prompt));
      id = draw_token(cpu_, M::vocab_size, values, history, options.sampling,
                      double{stream.uniform(static_cast<std::uint64_t>(step))},
                      {values + vocab, reinterpret_cast<std::int32_t*>(values + 2 * vocab)});
    }
    if (id < 0)
      throw Error(nothing_to_sample,
                  {.where = "prompt " + std::to_string(prompt) + ", new token " + std::to_string(step),
                   .fix = "Check the weights and the adapter for numbers that overflow"});
    return static_cast<std::int32_t>(id);
  }

  template <class OnToken, class Constraint>
  void decode(std::span<const std::vector<std::int32_t>> prompts, std::size_t first, const GenerateOptions& options,
              const OnToken& on_token, Constraint& constraint, std::span<Generated> results) {
    struct Row {
      std::int64_t row;
      std::vector<std::int32_t> history;  // prompt and output
      std::vector<std::int32_t> next;     // tokens of the output that are to be computed
    };
    std::vector<Row> active;
    // Forced tokens ride along while the rows of a pass have the bits of one row (docs/decisions/0007).
    const std::int64_t most_at_once = std::max<std::int64_t>(1, gemv_rows / options_.rows);
    // True while the row goes on: its token is taken over and the next pass will compute it.
    const auto accept = [&](Row& r, std::int32_t id) {
      Generated& result = results[static_cast<std::size_t>(r.row)];
      const std::size_t prompt = first + static_cast<std::size_t>(r.row);
      if (std::find(options.eos_token_id.begin(), options.eos_token_id.end(), id) != options.eos_token_id.end()) {
        result.stop_reason = StopReason::eos;
        return false;
      }
      result.ids.push_back(id);
      r.history.push_back(id);
      r.next.push_back(id);
      const bool goes_on = constraint.accept(prompt, id);
      if (!on_token(prompt, result.ids) || !goes_on) {
        result.stop_reason = StopReason::callback;
        return false;
      }
      if (std::cmp_equal(result.ids.size(), options.max_new_tokens)) return false;
      if (length_[static_cast<std::size_t>(r.row)] + std::ssize(r.next) > options_.context_length) {
        result.stop_reason = StopReason::context;
        return false;
      }
      return true;
    };
    const auto choose_and_accept = [&](Row& r, std::int64_t logits_row) {
      const std::size_t prompt = first + static_cast<std::size_t>(r.row);
      const std::int64_t step = std::ssize(results[static_cast<std::size_t>(r.row)].ids);
      r.next.clear();
      const auto drawn = [&] { return choose(prompt, logits_row, r.history, step, options, constraint.mask(prompt)); };
      std::int32_t id = drawn();
      if constexpr (requires { constraint.fits(prompt, id); })
        while (!constraint.fits(prompt, id)) id = drawn();
      if (!accept(r, id)) return false;
      for (const std::int32_t forced : constraint.forced(prompt, most_at_once - 1))
        if (!accept(r, forced)) return false;
      return true;
    };
    const auto ended = [&](const Row& r) {
      const Generated& result = results[static_cast<std::size_t>(r.row)];
      const std::size_t prompt = first + static_cast<std::size_t>(r.row);
      if constexpr (requires { on_token.ended(prompt, result); }) on_token.ended(prompt, result);
    };
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      Row r{static_cast<std::int64_t>(i), prompts[i], {}};
      length_[i] = std::ssize(prefix_);
      append(r.row, std::span(prompts[i]).subspan(prefix_.size()));
      if (choose_and_accept(r, 0))
        active.push_back(std::move(r));
      else
        ended(r);
    }
    std::vector<std::int64_t> rows;
    while (!active.empty()) {
      rows.clear();
      std::int64_t staged = 0;
      for (const Row& r : active) {
        for (const std::int32_t id : r.next) stage(staged++, r.row, id);
        rows.push_back(staged - 1);
      }
      forward(staged);
      head(rows);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < active.size(); ++i) {
        Row& r = active[i];
        if (!choose_and_accept(r, static_cast<std::int64_t>(i))) {
          ended(r);
          continue;
        }
        if (kept != i) active[kept] = std::move(r);
        ++kept;
      }
      active.resize(kept);
    }
  }

  Cpu cpu_;
  ModelView<E> model_;
  PackedView<PackedFormat::int8> int8_head_;  // HeadInt8 only
  GeneratorOptions options_;
  Arena arena_;
  AdapterView<E> adapter_;
  ForwardContext<E> context_;
  std::vector<std::int64_t> length_;  // tokens in the cache, by row
  std::vector<std::int32_t> prefix_;  // what every row's cache begins with
};

}  // namespace v0
}  // namespace expert
