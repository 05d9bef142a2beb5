// The loop over forward, loss, backward and optimizer: batches of tokens -> an updated adapter (or base, under
// FullFineTune).
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "expert/backward.hpp"
#include "expert/core/arena.hpp"
#include "expert/core/batch.hpp"
#include "expert/core/config.hpp"
#include "expert/core/error.hpp"
#include "expert/core/random.hpp"
#include "expert/loss.hpp"
#include "expert/optimizer.hpp"
#include "expert/plan/memory.hpp"
#include "expert/policy/loss.hpp"
#include "expert/weights.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode batch_too_long{301, "a packed row is longer than the compiled plan"};
inline constexpr ErrorCode token_out_of_range{302, "a token of the batch is out of range"};
inline constexpr ErrorCode not_finite{303, "the loss or the gradient is not a finite number"};
inline constexpr ErrorCode dropout_needs_policy{304, "dropout > 0 with DoRA needs a second base product"};
inline constexpr ErrorCode no_loss_tokens{309, "no token of the batch bears loss"};

struct TrainerOptions {
  OptimizerOptions optimizer;
  float dropout = 0;  // where the adapter policy does not fix its own
  std::uint64_t seed = 42;
  std::int64_t sub_batch_tokens = 0;  // run fewer tokens at once than the compiled plan; 0: what the plan chose
};

struct StepResult {
  std::int64_t step = 0;  // optimizer steps done, this one included
  double loss = 0;        // mean over the loss tokens of the step
  double grad_norm = 0;   // before clipping
  double learning_rate = 0;
  std::int64_t tokens = 0, loss_tokens = 0;
};

// Holds parameters, gradients, moments and activations in one arena laid out by TrainingPlan<E>; after construction
// nothing allocates. Losses are sums over all micro-batches divided by the global number of labels.
template <class E>
class Trainer {
 public:
  using T = typename E::compute::type;
  using M = typename E::model;
  using Plan = TrainingPlan<E>;
  static constexpr std::int64_t max_tokens = Plan::max_tokens;

  // Weights are checked already (weights.hpp). `layout` is for the tests of the plan. Throws EXPERT-E304 and
  // std::bad_alloc.
  Trainer(CpuDevice& device, const Weights<E>& weights, TrainerOptions options,
          Arena::Layout layout = Arena::Layout::large_pages)
      : cpu_(device.cpu()),
        model_(weights.view()),
        options_(options),
        capacity_(options.sub_batch_tokens > 0 ? std::min(options.sub_batch_tokens, max_tokens) : max_tokens),
        arena_(Plan::regions(capacity_), layout) {
    if constexpr (requires { E::adapter::dropout; })
      options_.dropout = options.dropout = static_cast<float>(E::adapter::dropout.value());
    if (options.dropout > 0 && E::adapter::is_dora && !E::adapter::dropout_product)
      throw Error(dropout_needs_policy, {.where = "/base_models/0/adapters/0/dropout",
                                         .expected = "0",
                                         .got = std::to_string(options.dropout),
                                         .fix = "Set dropout to 0, or compile DoRAWithDropout<r> in place of DoRA<r>"});
    float* p = parameters();
    clear_gradients();
    for (std::int64_t i = 0; i < E::optimizer::moments; ++i) std::fill_n(moment(i), trainable_parameters<E>, 0.0f);
    if constexpr (E::tuning::trains_base) weights.copy_base(p);
    context_.rope = make_rope_table<E>(E::packing::max_seq_length, floats(Plan::rope_tables));
    context_.dropped = at(Plan::dropped);
    context_.dropped_rest = at(Plan::dropped_rest);
    if constexpr (detail::adapts<E>) {
      if constexpr (E::adapter::is_dora) row_squares();
      initialise_adapter(p);
      adapter_ = {.values = compute_values(),
                  .norm = floats(Plan::dora_norm),
                  .scale = floats(Plan::dora_scale),
                  .dropout = options.dropout,
                  .seed = options.seed};
      context_.adapter = &adapter_;
    }
    context_.model = &model_;
    parameters_changed();
  }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // Flat f32 arrays in the layout of TrainedLayout<E>. After writing parameters call parameters_changed().
  float* parameters() const { return floats(Plan::parameters); }
  float* gradients() const { return floats(Plan::gradients); }
  // Moment i of E::optimizer::moments.
  float* moment(std::int64_t i) const { return floats(i == 0 ? Plan::first_moment : Plan::second_moment); }
  float* first_moment() const { return moment(0); }
  float* second_moment() const { return moment(1); }
  static std::vector<NamedSlice> slices() { return TrainedLayout<E>::slices(); }
  // A, B and DoRA's magnitudes in the layout of AdapterLayout<E>: the parameters, or what they expand to.
  float* adapter() const { return own_parameters ? floats(Plan::factors) : parameters(); }
  const Arena& arena() const { return arena_; }
  std::int64_t steps_done() const { return step_; }
  const TrainerOptions& options() const { return options_; }
  const Cpu& cpu() const { return cpu_; }
  std::int64_t tokens_at_once() const { return capacity_; }

  // Goes on after `steps_done` steps, with parameters and moments of then already written. All randomness is keyed by
  // the step, so nothing else has to be restored.
  void restore(std::int64_t steps_done) noexcept {
    clear_gradients();
    step_ = steps_done;
    adapter_.step = static_cast<std::uint32_t>(step_);
    parameters_changed();
  }

  // Recomputes what depends on the parameters: the compute copy, the views of a trained base, DoRA's norms and scales.
  void parameters_changed() noexcept {
    if constexpr (own_parameters)
      for_each_target([&](std::int64_t l, Projection p) {
        const std::int64_t own = OwnLayout<E>::at(l, p);
        const auto factor = AdapterLayout<E>::at(l, p);
        E::adapter::expand(out_features<M>(p), in_features<M>(p), parameters() + own, adapter() + factor.a,
                           adapter() + factor.b);
      });
    const float* p = adapter();
    if constexpr (!std::is_same_v<T, float>)
      convert(cpu_, own_parameters ? AdapterLayout<E>::size : trainable_parameters<E>, p, at(Plan::compute_copy));
    if constexpr (E::tuning::trains_base) bind_base<E>(model_, compute_values());
    if constexpr (detail::adapts<E>)
      refresh_dora<E>(cpu_, model_, p, floats(Plan::dora_weight_square), floats(Plan::dora_product),
                      floats(Plan::dora_norm), floats(Plan::dora_scale));
  }

  // Loss of the batch (sum over its loss tokens), with `scale` times its gradient added to gradients().
  // Rows go through in sub-batches of as many as the plan holds. Throws EXPERT-E301 and E302.
  double accumulate(const TokenBatch& batch, float scale) {
    check(batch);
    double loss = 0;
    for_each_sub_batch(batch, [&](std::int64_t first, std::int64_t n) { loss += sub_batch(batch, first, n, scale); });
    if constexpr (own_parameters) {
      float* factor = factor_gradients();
      for_each_target([&](std::int64_t l, Projection p) {
        const std::int64_t own = OwnLayout<E>::at(l, p);
        const auto at = AdapterLayout<E>::at(l, p);
        E::adapter::reduce(out_features<M>(p), in_features<M>(p), parameters() + own, factor + at.a, factor + at.b,
                           gradients() + own);
      });
      std::fill_n(factor, AdapterLayout<E>::size, 0.0f);
    }
    return loss;
  }

  // Starts the optimizer step again: gradients are zero, and dropout draws the masks of the step's first token.
  void clear_gradients() noexcept {
    std::fill_n(gradients(), trainable_parameters<E>, 0.0f);
    if constexpr (own_parameters) std::fill_n(factor_gradients(), AdapterLayout<E>::size, 0.0f);
    tokens_in_step_ = 0;
  }

  // Clips, updates, and clears the gradients. Throws EXPERT-E303, leaving the parameters as they were.
  double update(double learning_rate) {
    const double norm = apply_gradients(learning_rate);
    parameters_changed();
    return norm;
  }

  // One optimizer step over all micro-batches. Throws what accumulate and update throw, and EXPERT-E309.
  StepResult step(std::span<const TokenBatch> micro_batches, double learning_rate) {
    StepResult result;
    for (const TokenBatch& batch : micro_batches) {
      check(batch);
      result.tokens += batch.tokens();
      result.loss_tokens += batch.loss_tokens();
    }
    if (result.loss_tokens == 0)
      throw Error(no_loss_tokens,
                  {.where = "step " + std::to_string(step_ + 1), .fix = "Check the dataset's completion field"});
    const auto count = static_cast<double>(result.loss_tokens);
    for (const TokenBatch& batch : micro_batches) result.loss += accumulate(batch, static_cast<float>(1 / count));
    result.loss /= count;
    result.grad_norm = update(learning_rate);
    result.step = step_;
    result.learning_rate = learning_rate;
    return result;
  }

  // Loss of the batch (sum over its loss tokens) without dropout; gradients stay as they are. Throws EXPERT-E301 and
  // E302.
  double loss_sum(const TokenBatch& batch) {
    check(batch);
    const float dropout = std::exchange(adapter_.dropout, 0.0f);
    double loss = 0;
    for_each_sub_batch(batch, [&](std::int64_t first, std::int64_t n) {
      forward(batch, first, n);
      loss += loss_of(batch, first, n, 0.0f, nullptr, nullptr);
    });
    adapter_.dropout = dropout;
    return loss;
  }
  // The mean over the loss tokens.
  double evaluate(const TokenBatch& batch) {
    return loss_sum(batch) / static_cast<double>(std::max<std::int64_t>(1, batch.loss_tokens()));
  }

  // Hidden rows after the final norm for tokens [first, first + n) of the batch, in final_hidden(). For tests and
  // research.
  void forward(const TokenBatch& batch, std::int64_t first, std::int64_t n) noexcept {
    auto* keys = arena_.at<KeyRanges>(Plan::key_ranges);
    const auto begin = static_cast<std::int32_t>(first);
    for (std::int64_t i = 0; i < n; ++i) {
      const KeyRanges& r = batch.keys[static_cast<std::size_t>(first + i)];
      keys[i] = {};
      if (r.p0 < r.p1) keys[i].p0 = r.p0 - begin, keys[i].p1 = r.p1 - begin;
      if (r.d0 < r.d1) keys[i].d0 = r.d0 - begin, keys[i].d1 = r.d1 - begin;
    }
    tokens_ = {n, batch.input_ids.data() + first, batch.positions.data() + first, keys, nullptr, tokens_in_step_};
    embed<E>(cpu_, model_, tokens_, layer(0).x);
    for (std::int64_t l = 0; l < M::num_hidden_layers; ++l) layer_forward<E>(cpu_, context_, l, tokens_, layer(l));
    rms_norm_forward(cpu_, n, M::hidden_size, static_cast<float>(M::rms_norm_eps),
                     layer(M::num_hidden_layers - 1).x_out, M::hidden_size, model_.norm, at(Plan::final_norm),
                     M::hidden_size, final_rstd());
  }
  const T* final_hidden() const { return at(Plan::final_norm); }
  const ModelView<E>& model() const { return model_; }

  // The buffers of one layer: what the forward pass left there (tests compare every intermediate). All layers share
  // those that are computed again.
  LayerBuffers<E> layer(std::int64_t l) const noexcept {
    using S = detail::Sizes<E>;
    const std::int64_t n = capacity_, kept = recomputes_layers ? 0 : l, attended = recomputes_attention ? 0 : kept;
    const auto slice = [&](std::size_t region, std::int64_t width) { return at(region) + kept * n * width; };
    const auto shared = [&](std::size_t region, std::int64_t width) { return at(region) + attended * n * width; };
    T* const residual = at(Plan::residual) + l * n * S::C;
    LayerBuffers<E> b{residual,
                      slice(Plan::input_norm, S::C),
                      slice(Plan::q, S::Q),
                      slice(Plan::k, S::KV),
                      slice(Plan::v, S::KV),
                      shared(Plan::q_rotated, S::Q),
                      shared(Plan::k_rotated, S::KV),
                      shared(Plan::v_scaled, S::KV),
                      shared(Plan::context, S::Q),
                      slice(Plan::o, S::C),
                      slice(Plan::residual_mid, S::C),
                      slice(Plan::post_norm, S::C),
                      slice(Plan::gate, S::F),
                      slice(Plan::up, S::F),
                      slice(Plan::activation, S::F),
                      slice(Plan::down, S::C),
                      residual + n * S::C,
                      nullptr,
                      nullptr,
                      nullptr,
                      nullptr,
                      nullptr,
                      {},
                      {}};
    float* statistics = floats(Plan::row_statistics) + kept * n * (2 + S::H + S::K);
    b.rstd_input = statistics;
    b.rstd_post = statistics + n;
    b.rstd_q = statistics + 2 * n;
    b.rstd_k = statistics + (2 + S::H) * n;
    b.lse = floats(Plan::log_sum_exp) + attended * n * S::H;
    if constexpr (detail::adapts<E>) {
      std::int64_t target = kept * S::targets;
      for (const Projection p : all_projections) {
        if (!E::adapter::targets(p)) continue;
        b.rank_rows[index_of(p)] = at(Plan::rank_rows) + target++ * n * S::R;
        if constexpr (E::adapter::dropout_product)
          b.branch[index_of(p)] = at(Plan::dropout_branch) + AdapterLayout<E>::output_offset(kept, p) * n;
      }
    }
    return b;
  }

 private:
  // `update` without what follows from the new parameters.
  double apply_gradients(double learning_rate) {
    const PhaseScope scope(cpu_, Phase::optimizer);
    const OptimizerOptions& o = options_.optimizer;
    const double norm = global_norm(cpu_, gradients(), trainable_parameters<E>);
    if (!std::isfinite(norm)) {
      clear_gradients();
      throw Error(not_finite, {.where = "step " + std::to_string(step_ + 1),
                               .got = "gradient norm " + std::to_string(norm),
                               .fix = "Lower learning_rate; the parameters are those of the step before"});
    }
    ++step_;
    const double clip = clip_coefficient(norm, o.max_grad_norm);
    const auto adamw = [&](std::int64_t first, std::int64_t count, Group group) {
      OptimizerOptions rates = o;
      if (group == Group::not_decayed) rates.weight_decay = 0;
      adamw_update(cpu_, rates, step_, learning_rate, clip, count, parameters() + first, gradients() + first,
                   first_moment() + first, second_moment() + first);
    };
    if constexpr (slots::UpdatesParameters<typename E::optimizer>) {
      for_each_group([&](std::int64_t first, std::int64_t count, Group group) {
        const UpdateStep update{step_, learning_rate, group == Group::not_decayed ? 0 : o.weight_decay, clip};
        parallel_pieces(cpu_, count, std::int64_t{1} << 14, [&](std::int64_t begin, std::int64_t n) {
          const std::int64_t at = first + begin;
          E::optimizer::update(update, n, parameters() + at, gradients() + at, first_moment() + at,
                               second_moment() + at);
        });
      });
    } else if constexpr (OrthogonalisesMatrices<typename E::optimizer>) {
      for_each_matrix(adamw, [&](std::int64_t first, std::int64_t rows, std::int64_t cols) {
        muon_update<typename E::optimizer>(cpu_, o, learning_rate, clip, rows, cols, parameters() + first,
                                           gradients() + first, first_moment() + first, floats(Plan::muon_scratch));
      });
    } else {
      for_each_group(adamw);
    }
    clear_gradients();
    adapter_.step = static_cast<std::uint32_t>(step_);
    return norm;
  }

  static constexpr bool own_parameters = detail::Sizes<E>::own_parameters,
                        recomputes_layers = Plan::recompute == Recompute::layers,
                        recomputes_attention = Plan::recompute == Recompute::attention;

  T* at(std::size_t region) const { return arena_.at<T>(region); }
  float* floats(std::size_t region) const { return arena_.at<float>(region); }
  T* compute_values() const {
    if constexpr (std::is_same_v<T, float>) {
      return adapter();
    } else {
      return at(Plan::compute_copy);
    }
  }
  // Of the tensors that backward knows: A, B and m, or the base.
  float* factor_gradients() const { return own_parameters ? floats(Plan::factor_gradients) : gradients(); }
  float* final_rstd() const {
    using S = detail::Sizes<E>;
    return floats(Plan::row_statistics) + Plan::kept_layers(Plan::recompute) * (2 + S::H + S::K) * capacity_;
  }

  // transformers' rule (Trainer.get_decay_parameter_names): every tensor decays but the weights of norms.
  enum class Group : std::uint8_t { matrices, decayed, not_decayed };
  template <class F>
  static void for_each_group(F&& f) {
    if constexpr (E::tuning::trains_base) {
      using B = BaseLayout<E>;
      f(B::embed_tokens, B::layers, Group::decayed);
      for (std::int64_t l = 0; l < M::num_hidden_layers; ++l) {
        f(B::at(l, Projection::q_proj), B::projections_size, Group::matrices);
        f(B::input_layernorm(l), B::layer_size - B::projections_size, Group::not_decayed);
      }
      f(B::norm, M::hidden_size, Group::not_decayed);
      if (!M::tie_word_embeddings) f(B::lm_head, M::vocab_size * M::hidden_size, Group::decayed);
    } else {
      f(0, trainable_parameters<E>, Group::decayed);
    }
  }
  // Every trained parameter once: the layers' matrices one by one, the rest in groups.
  template <class Rest, class Matrix>
  static void for_each_matrix(Rest&& rest, Matrix&& matrix) {
    for (std::int64_t l = 0; l < M::num_hidden_layers; ++l)
      for (const Projection p : all_projections) {
        const std::int64_t out = out_features<M>(p), in = in_features<M>(p);
        if constexpr (E::tuning::trains_base) {
          matrix(BaseLayout<E>::at(l, p), out, in);
        } else if (!own_parameters && E::adapter::targets(p)) {
          const auto at = AdapterLayout<E>::at(l, p);
          matrix(at.a, E::adapter::r, in);
          matrix(at.b, out, E::adapter::r);
          if (E::adapter::is_dora) rest(at.magnitude, out, Group::decayed);
        }
      }
    if constexpr (E::tuning::trains_base || own_parameters)
      for_each_group([&](std::int64_t first, std::int64_t count, Group group) {
        if (group != Group::matrices) rest(first, count, group);
      });
  }

  // Nothing that a batch holds may index outside a buffer: ids and labels outside the vocabulary, positions outside the
  // rope table, keys outside the token's own row.
  void check(const TokenBatch& batch) const {
    const std::size_t n = batch.input_ids.size();
    const bool whole = batch.positions.size() == n && batch.labels.size() == n && batch.keys.size() == n &&
                       (n == 0 || (batch.rows() > 0 && batch.row_begin.front() == 0)) &&
                       (n == 0 || batch.row_begin.back() == batch.tokens());
    if (!whole)
      throw Error(token_out_of_range,
                  {.where = "batch",
                   .expected = "as many positions, labels and key ranges as ids, in rows that cover them",
                   .got = std::to_string(n) + " ids",
                   .fix = "Fill every array of TokenBatch"});
    for (std::int64_t row = 0; row < batch.rows(); ++row) {
      const std::int64_t begin = batch.row_begin[static_cast<std::size_t>(row)],
                         end = batch.row_begin[static_cast<std::size_t>(row) + 1];
      if (begin > end || end > batch.tokens() || end - begin > std::min(E::packing::max_seq_length, capacity_))
        throw Error(batch_too_long,
                    {.where = "row " + std::to_string(row),
                     .expected = "0 to " + std::to_string(std::min(E::packing::max_seq_length, capacity_)) + " tokens",
                     .got = std::to_string(end - begin),
                     .fix = "Pack with the expert's max_seq_length"});
      for (std::int64_t i = begin; i < end; ++i) check_token(batch, static_cast<std::size_t>(i), begin, end);
    }
  }
  void check_token(const TokenBatch& batch, std::size_t i, std::int64_t begin, std::int64_t end) const {
    const auto refuse = [&](std::string expected, std::string got) {
      throw Error(token_out_of_range,
                  {.where = "token " + std::to_string(i),
                   .expected = std::move(expected),
                   .got = std::move(got),
                   .fix = "Use the tokenizer that belongs to the model, and the library's packing"});
    };
    const std::int64_t id = batch.input_ids[i], label = batch.labels[i], position = batch.positions[i];
    const KeyRanges& k = batch.keys[i];
    if (id < 0 || id >= M::vocab_size) refuse("an id below " + std::to_string(M::vocab_size), std::to_string(id));
    if (label != ignore_index && (label < 0 || label >= M::vocab_size))
      refuse("a label below " + std::to_string(M::vocab_size) + " or -100", std::to_string(label));
    if (position < 0 || position >= E::packing::max_seq_length)
      refuse("a position below " + std::to_string(E::packing::max_seq_length), std::to_string(position));
    const auto inside = [&](std::int64_t first, std::int64_t last) {
      return first == last || (begin <= first && first < last && last <= end);
    };
    if (!inside(k.p0, k.p1) || !inside(k.d0, k.d1))
      refuse("key ranges within its row, " + std::to_string(begin) + " to " + std::to_string(end),
             std::to_string(k.p0) + ".." + std::to_string(k.p1) + " and " + std::to_string(k.d0) + ".." +
                 std::to_string(k.d1));
  }

  // f(first token, tokens) for runs of whole rows, as many as the plan holds.
  template <class F>
  void for_each_sub_batch(const TokenBatch& batch, F&& f) {
    const auto begin_of = [&](std::int64_t i) { return batch.row_begin[static_cast<std::size_t>(i)]; };
    for (std::int64_t row = 0; row < batch.rows();) {
      std::int64_t end = row + 1;
      while (end < batch.rows() && begin_of(end + 1) - begin_of(row) <= capacity_) ++end;
      f(begin_of(row), begin_of(end) - begin_of(row));
      row = end;
    }
  }

  double loss_of(const TokenBatch& batch, std::int64_t first, std::int64_t n, float scale, T* d_final,
                 float* d_lm_head) noexcept {
    const LossBuffers<T> b{at(Plan::loss_rows),
                           at(Plan::d_loss_rows),
                           at(Plan::logits),
                           floats(Plan::losses),
                           arena_.at<std::int32_t>(Plan::loss_index),
                           arena_.at<std::int32_t>(Plan::labels),
                           std::min(E::loss::chunk_rows, capacity_),
                           std::min(loss_vocab_rows<typename E::loss>, std::int64_t{M::vocab_size}),
                           floats(Plan::softmax_state)};
    return loss_forward_backward(cpu_, n, model_.lm_head, at(Plan::final_norm), batch.labels.data() + first, scale, b,
                                 d_final, d_lm_head);
  }

  double sub_batch(const TokenBatch& batch, std::int64_t first, std::int64_t n, float scale) noexcept {
    constexpr std::int64_t C = M::hidden_size;
    using B = BaseLayout<E>;
    forward(batch, first, n);
    float* d_lm_head = nullptr;
    if constexpr (E::tuning::trains_base) d_lm_head = gradients() + B::lm_head;
    const double loss = loss_of(batch, first, n, scale, at(Plan::d_final), d_lm_head);
    BackwardBuffers<E> back{at(Plan::d_residual),
                            at(Plan::d_norm),
                            at(Plan::d_wide),
                            at(Plan::d_wide2),
                            at(Plan::d_q),
                            at(Plan::d_k),
                            at(Plan::d_v),
                            at(Plan::d_context),
                            at(Plan::d_rank),
                            at(Plan::d_branch),
                            floats(Plan::norm_partials),
                            factor_gradients()};
    const T* last = layer(M::num_hidden_layers - 1).x_out;
    if constexpr (E::tuning::trains_base)
      rms_norm_weight_backward(cpu_, n, C, last, final_rstd(), at(Plan::d_final), gradients() + B::norm,
                               back.norm_partials, norm_chunk_rows);
    rms_norm_backward(cpu_, n, C, last, C, model_.norm, final_rstd(), at(Plan::d_final), C, back.d_x, C, false);
    for (std::int64_t l = M::num_hidden_layers - 1; l >= 0; --l) {
      if (l < M::num_hidden_layers - 1) {  // the last one's are still there
        if (recomputes_layers) layer_forward<E>(cpu_, context_, l, tokens_, layer(l));
        if (recomputes_attention) attend_forward<E>(cpu_, context_, l, tokens_, layer(l));
      }
      layer_backward<E>(cpu_, context_, l, tokens_, layer(l), back, l > 0 || E::tuning::trains_base);
    }
    if constexpr (E::tuning::trains_base)
      embedding_backward(cpu_, n, C, tokens_.input_ids, back.d_x, gradients() + B::embed_tokens);
    tokens_in_step_ += n;
    return loss;
  }

  void row_squares() {
    for (std::int64_t l = 0; l < M::num_hidden_layers; ++l)
      for (const Projection p : all_projections)
        if (E::adapter::targets(p))
          weight_row_squares(cpu_, model_.layers[static_cast<std::size_t>(l)][p],
                             floats(Plan::dora_weight_square) + AdapterLayout<E>::output_offset(l, p));
  }

  // f(layer, projection) for every projection that the adapter targets, from all threads.
  template <class F>
  void for_each_target(F&& f) noexcept {
    constexpr auto projections = static_cast<std::int64_t>(all_projections.size());
    parallel_pieces(cpu_, M::num_hidden_layers * projections, 1, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t i = first; i < first + count; ++i) {
        const std::int64_t l = i / projections;
        const Projection p = all_projections[static_cast<std::size_t>(i % projections)];
        if (E::adapter::targets(p)) f(l, p);
      }
    });
  }

  // PEFT's defaults: A is kaiming_uniform with a = sqrt(5), which is U(-1/sqrt(in), 1/sqrt(in)); B is zero; m is ||W||.
  void initialise_adapter(float* p) {
    if constexpr (own_parameters) {
      for_each_target([&](std::int64_t l, Projection q) {
        const auto place = static_cast<std::uint32_t>(l * 8 + static_cast<std::int64_t>(q));
        const std::uint64_t seed = RandomStream(options_.seed, Purpose::init_lora_a, 0, place).bits(0);
        E::adapter::initialise(out_features<M>(q), in_features<M>(q), seed, p + OwnLayout<E>::at(l, q));
      });
      return;
    }
    using L = AdapterLayout<E>;
    std::fill_n(p, L::size, 0.0f);
    for_each_target([&](std::int64_t l, Projection q) {
      const auto offsets = L::at(l, q);
      const std::int64_t in = in_features<M>(q), out = out_features<M>(q);
      const RandomStream stream(options_.seed, Purpose::init_lora_a, 0,
                                static_cast<std::uint32_t>(l * 8 + static_cast<std::int64_t>(q)));
      const float bound = 1 / std::sqrt(static_cast<float>(in));
      for (std::int64_t i = 0; i < E::adapter::r * in; ++i)
        p[offsets.a + i] = (2 * stream.uniform(static_cast<std::uint64_t>(i)) - 1) * bound;
      if constexpr (E::adapter::is_dora) {
        const float* square = floats(Plan::dora_weight_square) + L::output_offset(l, q);
        for (std::int64_t i = 0; i < out; ++i) p[offsets.magnitude + i] = std::sqrt(square[i]);
      }
    });
  }

  Cpu cpu_;
  ModelView<E> model_;
  TrainerOptions options_;
  std::int64_t capacity_;  // tokens that run at once
  Arena arena_;
  AdapterView<E> adapter_;
  ForwardContext<E> context_;
  TokenView tokens_;
  std::int64_t step_ = 0, tokens_in_step_ = 0;
};

}  // namespace v0
}  // namespace expert
