// The registry of ops that have kernels for the CPU: each with inputs of a size, its distance from the reference in
// ops/ (or from f64), and a run that can be timed. op_cases_test holds the distances against the tolerances; op_bench
// times only ops that are within them, and lists every op by instruction set.
#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "expert/cpu/instances.hpp"
#include "expert/ops/adamw.hpp"
#include "expert/ops/attention.hpp"
#include "expert/ops/cross_entropy.hpp"
#include "expert/ops/dora.hpp"
#include "expert/ops/dropout.hpp"
#include "expert/ops/residual.hpp"
#include "expert/ops/rms_norm.hpp"
#include "expert/ops/swiglu.hpp"
#include "packed_sample.hpp"

namespace expert::tests {

// What bounds an op's speed: multiply-adds of f32 or of pairs of bf16, or bytes that move.
enum class Bound : std::uint8_t { f32, pairs, bytes };

struct OpRun {
  std::function<void()> once;
  std::function<double()> error;  // of what `once` has left: the largest, as a share of the largest exact number
};
struct OpCase {
  std::string name;
  Bound bound;
  double work;       // FLOP or bytes of a run
  double tolerance;  // of the error
  std::function<OpRun(Cpu&)> make;
};

template <class T, class U>
double worst_error(const std::vector<T>& got, const std::vector<U>& expected) {
  double worst = 0, largest = 1e-30;
  for (const U& x : expected) largest = std::max(largest, std::abs(double{static_cast<float>(x)}));
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(double{static_cast<float>(got[i])} - double{static_cast<float>(expected[i])});
    if (!(error <= worst)) worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
  }
  return worst / largest;
}

template <class T>
constexpr double unit = sizeof(T) == 2 ? 0x1p-8 : 4e-6;  // bf16: half a unit in the last place of the largest number
template <class T>
std::string typed(const char* op) {
  return std::string(op) + (sizeof(T) == 2 ? " bf16" : " f32");
}

// Keeps inputs and outputs of a run alive for its two functions.
template <class State>
OpRun run_of(State state, void (*once)(State&), double (*error)(State&)) {
  const auto shared = std::make_shared<State>(std::move(state));
  return {[=] { once(*shared); }, [=] { return error(*shared); }};
}

template <class T>
OpCase gemm_case(std::int64_t m, std::int64_t n, std::int64_t k) {
  struct State {
    Cpu cpu;
    std::int64_t m, n, k;
    std::vector<T> a, b, c;
  };
  return {typed<T>("gemm"), sizeof(T) == 2 ? Bound::pairs : Bound::f32, 2.0 * static_cast<double>(m * n * k), unit<T>,
          [=](Cpu& cpu) {
            return run_of<State>(
                {cpu, m, n, k, random_values<T>(m * k, 1), random_values<T>(n * k, 2), std::vector<T>(index(m * n))},
                [](State& s) {
                  gemm(s.cpu, Trans::no, Trans::yes, s.m, s.n, s.k, 1.0f, s.a.data(), s.k, s.b.data(), s.k, 0.0f,
                       s.c.data(), s.n);
                },
                [](State& s) {
                  std::vector<T> expected(s.c.size());
                  reference::linear_forward(s.m, s.n, s.k, s.a.data(), s.b.data(), expected.data());
                  return worst_error(s.c, expected);
                });
          }};
}

// y = x W^T (or, backward, d_x = d_y W) for W packed in a format.
inline OpCase packed_case_of(PackedFormat format, bool backward, std::int64_t rows, std::int64_t out, std::int64_t in) {
  struct State {
    Cpu cpu;
    bool backward;
    std::int64_t rows, out, in;
    Sample sample;
    std::vector<bf16> x, y;
  };
  const bool few = rows <= gemv_rows && !backward;
  const double weights = static_cast<double>(packed_shape(format, out, in, 64).packed_bytes());
  return {(few        ? "gemv "
           : backward ? "gemm backward "
                      : "gemm ") +
              std::string(format == PackedFormat::bf16 ? "packed bf16" : name_of_format(format)),
          few ? Bound::bytes : Bound::pairs, few ? weights : 2.0 * static_cast<double>(rows * out * in), unit<bf16>,
          [=](Cpu& cpu) {
            return run_of<State>(
                {cpu, backward, rows, out, in, sample(cpu, format, out, in),
                 random_values<bf16>(rows * (backward ? out : in), 5),
                 std::vector<bf16>(index(rows * (backward ? in : out)))},
                [](State& s) {
                  if (s.backward)
                    backward_of(s.cpu, s.rows, s.sample.packed, s.x.data(), s.out, false, s.y.data(), s.in);
                  else
                    forward_of(s.cpu, s.rows, s.sample.packed, s.x.data(), s.in, s.y.data(), s.out);
                },
                [](State& s) {
                  std::vector<float> w = s.sample.dense, expected(s.y.size());
                  if (s.backward)
                    for (std::int64_t i = 0; i < s.out; ++i)
                      for (std::int64_t j = 0; j < s.in; ++j)
                        w[index(j * s.out + i)] = s.sample.dense[index(i * s.in + j)];
                  const std::vector<float> x(s.x.begin(), s.x.end());
                  const std::int64_t n = s.backward ? s.in : s.out, k = s.backward ? s.out : s.in;
                  reference::linear_forward(s.rows, n, k, x.data(), w.data(), expected.data());
                  return worst_error(s.y, expected);
                });
          }};
}

// Documents of 200 tokens, sixteen heads on eight. In bf16 the probabilities may be rounded, the output and the
// reference are.
template <class T>
OpCase attention_case(bool backward, std::int64_t tokens, std::int64_t head_dim) {
  struct State {
    Cpu cpu;
    bool backward;
    std::int64_t n, D, H, K;
    std::vector<KeyRanges> keys;
    std::vector<T> q, k, v, out, d_out, d_q, d_k, d_v;
    std::vector<float> lse;
  };
  constexpr std::int64_t heads = 16, kv_heads = 8;
  std::vector<KeyRanges> keys;
  double seen = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto start = static_cast<std::int32_t>(t / 200 * 200);
    keys.push_back({0, 0, start, static_cast<std::int32_t>(t) + 1});
    seen += static_cast<double>(t + 1 - start);
  }
  const double products = backward ? 5 : 2;
  return {typed<T>(backward ? "attention backward" : "attention"), sizeof(T) == 2 ? Bound::pairs : Bound::f32,
          products * 2 * seen * static_cast<double>(heads * head_dim), (backward ? 4 : 1.5) * unit<T>, [=](Cpu& cpu) {
            const std::int64_t q = tokens * heads * head_dim, kv = tokens * kv_heads * head_dim;
            State state{cpu,
                        backward,
                        tokens,
                        head_dim,
                        heads,
                        kv_heads,
                        keys,
                        random_values<T>(q, 1),
                        random_values<T>(kv, 2),
                        random_values<T>(kv, 3),
                        std::vector<T>(index(q)),
                        random_values<T>(q, 4),
                        std::vector<T>(index(q)),
                        std::vector<T>(index(kv)),
                        std::vector<T>(index(kv)),
                        std::vector<float>(index(tokens * heads))};
            attention_forward(cpu, tokens, heads, kv_heads, head_dim, 0.1f, state.q.data(), heads * head_dim,
                              state.k.data(), state.v.data(), {kv_heads * head_dim, head_dim}, state.keys.data(),
                              state.out.data(), heads * head_dim, state.lse.data());
            return run_of<State>(
                std::move(state),
                [](State& s) {
                  const std::int64_t Q = s.H * s.D, KV = s.K * s.D;
                  if (s.backward)
                    attention_backward(s.cpu, s.n, s.n, s.H, s.K, s.D, 0.1f, s.q.data(), Q, s.k.data(), s.v.data(), KV,
                                       s.keys.data(), s.out.data(), Q, s.lse.data(), s.d_out.data(), Q, s.d_q.data(), Q,
                                       s.d_k.data(), s.d_v.data(), KV);
                  else
                    attention_forward(s.cpu, s.n, s.H, s.K, s.D, 0.1f, s.q.data(), Q, s.k.data(), s.v.data(), {KV, s.D},
                                      s.keys.data(), s.out.data(), Q, s.lse.data());
                },
                [](State& s) {
                  const std::int64_t Q = s.H * s.D, KV = s.K * s.D;
                  State e = s;
                  reference::attention_forward(s.n, s.H, s.K, s.D, 0.1f, s.q.data(), Q, s.k.data(), s.v.data(),
                                               {KV, s.D}, s.keys.data(), e.out.data(), Q, e.lse.data());
                  if (!s.backward) return worst_error(s.out, e.out);
                  reference::attention_backward(s.n, s.n, s.H, s.K, s.D, 0.1f, s.q.data(), Q, s.k.data(), s.v.data(),
                                                KV, s.keys.data(), s.out.data(), Q, s.lse.data(), s.d_out.data(), Q,
                                                e.d_q.data(), Q, e.d_k.data(), e.d_v.data(), KV);
                  return std::max({worst_error(s.d_q, e.d_q), worst_error(s.d_k, e.d_k), worst_error(s.d_v, e.d_v)});
                });
          }};
}

// One query of sixteen heads behind a cache of keys of eight, head by head.
inline OpCase decode_attention_case(std::int64_t keys, std::int64_t head_dim) {
  struct State {
    Cpu cpu;
    std::int64_t keys, D, H, K;
    std::vector<bf16> q, k, v, out;
    std::vector<float> lse;
    HeadLayout layout() const { return {D, keys * D}; }
    KeyRanges range() const { return {0, 0, 0, static_cast<std::int32_t>(keys)}; }
  };
  constexpr std::int64_t heads = 16, kv_heads = 8;
  const std::int64_t q = heads * head_dim, kv = keys * kv_heads * head_dim;
  return {"attention of a token bf16", Bound::bytes, 2.0 * static_cast<double>(kv) * sizeof(bf16), unit<bf16>,
          [=](Cpu& cpu) {
            return run_of<State>(
                {cpu, keys, head_dim, heads, kv_heads, random_values<bf16>(q, 1), random_values<bf16>(kv, 2),
                 random_values<bf16>(kv, 3), std::vector<bf16>(index(q)), std::vector<float>(index(heads))},
                [](State& s) {
                  const KeyRanges range = s.range();
                  attention_forward(s.cpu, 1, s.H, s.K, s.D, 0.1f, s.q.data(), s.H * s.D, s.k.data(), s.v.data(),
                                    s.layout(), &range, s.out.data(), s.H * s.D, s.lse.data());
                },
                [](State& s) {
                  const KeyRanges range = s.range();
                  std::vector<bf16> expected(s.out.size());
                  reference::attention_forward(1, s.H, s.K, s.D, 0.1f, s.q.data(), s.H * s.D, s.k.data(), s.v.data(),
                                               s.layout(), &range, expected.data(), s.H * s.D, s.lse.data());
                  return worst_error(s.out, expected);
                });
          }};
}

// An op over rows of numbers. `run` gets the state and whether it is the reference that is to run.
template <class T>
struct RowState {
  Cpu cpu;
  std::int64_t rows, cols;
  std::vector<T> x, y, z, out, out2;
  std::vector<float> c, c2, f, f2;
  std::vector<std::int32_t> integers;

  DoraColumns dora(float* d_magnitude) const { return {c.data(), c2.data(), d_magnitude}; }
  void dora_backward_by_reference(const std::vector<T>& product, std::vector<T>& d, float* d_magnitude) const {
    reference::dora_backward(rows, cols, cols, product.data(), c.data(), c2.data(), d.data(), d.data(), d_magnitude);
  }
};
template <class T>
OpCase row_case(const char* name, double bytes_of_number, std::int64_t rows, std::int64_t cols, double tolerance,
                void (*run)(RowState<T>&, bool by_reference)) {
  using State = RowState<T>;
  return {typed<T>(name), Bound::bytes, bytes_of_number * sizeof(T) * static_cast<double>(rows * cols), tolerance,
          [=](Cpu& cpu) {
            const std::int64_t n = rows * cols;
            State state{cpu,
                        rows,
                        cols,
                        random_values<T>(n, 1),
                        random_values<T>(n, 2),
                        random_values<T>(n, 3),
                        std::vector<T>(index(n)),
                        std::vector<T>(index(n)),
                        random_values<float>(n, 4),
                        random_values<float>(n, 5),
                        std::vector<float>(index(n)),
                        std::vector<float>(index(cols)),
                        {}};
            for (float& c : state.c2) c = 1.5f + 0.5f * c;
            for (std::int64_t t = 0; t < rows; ++t) state.integers.push_back(static_cast<std::int32_t>(t * 31 % cols));
            const auto begin = std::make_shared<State>(state), got = std::make_shared<State>(std::move(state));
            return OpRun{[=] { run(*got, false); },
                         [=] {
                           State ours = *begin, expected = *begin;
                           run(ours, false);
                           run(expected, true);
                           return std::max({worst_error(ours.out, expected.out), worst_error(ours.out2, expected.out2),
                                            worst_error(ours.f, expected.f), worst_error(ours.f2, expected.f2)});
                         }};
          }};
}

template <class T>
void add_row_cases(std::vector<OpCase>& cases, std::int64_t rows, std::int64_t hidden, std::int64_t vocab) {
  using S = RowState<T>;
  constexpr double u = unit<T>;
  cases.push_back(row_case<T>("rms_norm", 2, rows, hidden, u, [](S& s, bool by_reference) {
    if (by_reference)
      reference::rms_norm_forward(s.rows, s.cols, 1e-6f, s.x.data(), s.cols, s.y.data(), s.out.data(), s.cols,
                                  s.f.data());
    else
      rms_norm_forward(s.cpu, s.rows, s.cols, 1e-6f, s.x.data(), s.cols, s.y.data(), s.out.data(), s.cols, s.f.data());
  }));
  cases.push_back(row_case<T>("rms_norm backward", 3, rows, hidden, u, [](S& s, bool by_reference) {
    std::fill_n(s.f.begin(), s.rows, 1.25f);
    if (by_reference)
      reference::rms_norm_backward(s.rows, s.cols, s.x.data(), s.cols, s.y.data(), s.f.data(), s.z.data(), s.cols,
                                   s.out.data(), s.cols, false);
    else
      rms_norm_backward(s.cpu, s.rows, s.cols, s.x.data(), s.cols, s.y.data(), s.f.data(), s.z.data(), s.cols,
                        s.out.data(), s.cols, false);
  }));
  // A flip before the rotation is a unit of a product, of which the result is a difference.
  cases.push_back(row_case<T>("qk_norm_rope", 2, rows, hidden, 2 * u, [](S& s, bool by_reference) {
    constexpr std::int64_t D = 64;
    const std::int64_t heads = s.cols / D;
    const std::vector<std::int32_t> positions(index(s.rows), 1);
    const RopeTable table{s.c.data(), s.c2.data()};
    if (by_reference)
      reference::qk_norm_rope_forward(s.rows, heads, D, 1e-6f, s.x.data(), s.c2.data(), s.y.data(), table,
                                      positions.data(), s.out.data(), {s.cols, D}, nullptr, s.f.data());
    else
      qk_norm_rope_forward(s.cpu, s.rows, heads, D, 1e-6f, s.x.data(), s.c2.data(), s.y.data(), table, positions.data(),
                           s.out.data(), {s.cols, D}, nullptr, s.f.data());
  }));
  cases.push_back(row_case<T>("qk_norm_rope backward, DoRA", 3, rows, hidden, 2 * u, [](S& s, bool by_reference) {
    constexpr std::int64_t D = 64;
    const std::int64_t heads = s.cols / D;
    const std::vector<std::int32_t> positions(index(s.rows), 1);
    const std::vector<float> rstd(index(s.rows * heads), 1.25f);
    const RopeTable table{s.c.data(), s.c2.data()};
    s.out = s.z;
    if (by_reference) {
      reference::qk_norm_rope_backward(s.rows, heads, D, s.x.data(), s.c.data(), s.y.data(), table, positions.data(),
                                       rstd.data(), s.out.data(), nullptr);
      s.dora_backward_by_reference(s.x, s.out, s.f.data());
    } else {
      qk_norm_rope_backward(s.cpu, s.rows, heads, D, s.x.data(), s.dora(s.f.data()), s.y.data(), table,
                            positions.data(), rstd.data(), s.out.data(), nullptr, nullptr, 16);
    }
  }));
  cases.push_back(row_case<T>("swiglu", 3, rows, hidden, u, [](S& s, bool by_reference) {
    if (by_reference)
      reference::swiglu_forward(s.rows, s.cols, s.x.data(), s.c.data(), s.y.data(), s.c2.data(), s.out.data());
    else
      swiglu_forward(s.cpu, s.rows, s.cols, s.x.data(), s.c.data(), s.y.data(), s.c2.data(), s.out.data());
  }));
  cases.push_back(row_case<T>("swiglu backward", 5, rows, hidden, u, [](S& s, bool by_reference) {
    if (by_reference)
      reference::swiglu_backward(s.rows, s.cols, s.x.data(), nullptr, s.y.data(), nullptr, s.z.data(), s.out.data(),
                                 s.out2.data());
    else
      swiglu_backward(s.cpu, s.rows, s.cols, s.x.data(), {}, s.y.data(), {}, s.z.data(), s.out.data(), s.out2.data());
  }));
  cases.push_back(row_case<T>("swiglu backward, DoRA", 5, rows, hidden, u, [](S& s, bool by_reference) {
    float *sums = s.f.data(), *sums2 = s.f2.data();
    if (by_reference) {
      reference::swiglu_backward(s.rows, s.cols, s.x.data(), s.c.data(), s.y.data(), s.c.data(), s.z.data(),
                                 s.out.data(), s.out2.data());
      s.dora_backward_by_reference(s.x, s.out, sums);
      s.dora_backward_by_reference(s.y, s.out2, sums2);
    } else {
      swiglu_backward(s.cpu, s.rows, s.cols, s.x.data(), s.dora(sums), s.y.data(), s.dora(sums2), s.z.data(),
                      s.out.data(), s.out2.data());
    }
  }));
  cases.push_back(row_case<T>("residual", 3, rows, hidden, u, [](S& s, bool by_reference) {
    if (by_reference)
      reference::residual_add(s.rows, s.cols, s.x.data(), s.y.data(), s.c.data(), s.out.data());
    else
      residual_add(s.cpu, s.rows, s.cols, s.x.data(), s.y.data(), s.c.data(), s.out.data());
  }));
  cases.push_back(row_case<T>("residual subtracted", 3, rows, hidden, u, [](S& s, bool by_reference) {
    if (by_reference)
      reference::residual_subtract(s.rows, s.cols, s.x.data(), s.y.data(), s.out.data());
    else
      residual_subtract(s.cpu, s.rows, s.cols, s.x.data(), s.y.data(), s.out.data());
  }));
  cases.push_back(row_case<T>("dropout", 3, rows, hidden, u, [](S& s, bool by_reference) {
    const DropoutMask mask{RandomStream(1, Purpose::dropout), 3, 0.1f};
    if (by_reference)
      reference::dropout_forward(s.rows, s.cols, mask, s.x.data(), s.out.data(), s.out2.data());
    else
      dropout_forward(s.cpu, s.rows, s.cols, mask, s.x.data(), s.out.data(), s.out2.data());
  }));
  cases.push_back(row_case<T>("dropout backward", 3, rows, hidden, u, [](S& s, bool by_reference) {
    const DropoutMask mask{RandomStream(1, Purpose::dropout), 3, 0.1f};
    s.out = s.z;
    if (by_reference)
      reference::dropout_backward(s.rows, s.cols, mask, s.x.data(), s.out.data());
    else
      dropout_backward(s.cpu, s.rows, s.cols, mask, s.x.data(), s.out.data());
  }));
  cases.push_back(row_case<T>("dora backward", 3, rows, hidden, u, [](S& s, bool by_reference) {
    s.out = s.y;
    if (by_reference)
      s.dora_backward_by_reference(s.x, s.out, s.f.data());
    else
      dora_backward(s.cpu, s.rows, s.cols, s.x.data(), s.dora(s.f.data()), s.y.data(), s.out.data());
  }));
  cases.push_back(
      row_case<T>("cross_entropy", 3, std::max<std::int64_t>(1, rows / 8), vocab, u, [](S& s, bool by_reference) {
        s.out = s.x;
        if (by_reference)
          reference::cross_entropy(s.rows, s.cols, s.out.data(), s.integers.data(), 0.5f, s.f.data());
        else
          cross_entropy(s.cpu, s.rows, s.cols, s.out.data(), s.integers.data(), 0.5f, s.f.data());
      }));
}

// Every op. `rows` tokens of a model of these sizes (hidden a multiple of 64).
inline std::vector<OpCase> op_cases(std::int64_t rows, std::int64_t hidden, std::int64_t intermediate,
                                    std::int64_t vocab) {
  std::vector<OpCase> cases{gemm_case<float>(rows, intermediate, hidden), gemm_case<bf16>(rows, intermediate, hidden)};
  for (const PackedFormat format : formats) {
    cases.push_back(packed_case_of(format, false, rows, intermediate, hidden));
    cases.push_back(packed_case_of(format, true, rows, intermediate, hidden));
    cases.push_back(packed_case_of(format, false, 1, intermediate, hidden));
  }
  for (const bool backward : {false, true}) {
    cases.push_back(attention_case<float>(backward, rows, hidden / 8));
    cases.push_back(attention_case<bf16>(backward, rows, hidden / 8));
  }
  cases.push_back(decode_attention_case(4 * rows, hidden / 8));
  add_row_cases<float>(cases, rows, hidden, vocab);
  add_row_cases<bf16>(cases, rows, hidden, vocab);
  cases.push_back(row_case<float>("adamw", 7, rows, hidden, 4e-6, [](RowState<float>& s, bool by_reference) {
    const AdamWStep step(1e-3, 0.9, 0.999, 1e-8, 0.1, 3, 0.9);
    const std::int64_t n = s.rows * s.cols;
    s.out = s.x, s.out2 = s.y, s.f = s.c2;
    if (by_reference)
      reference::adamw(step, n, s.out.data(), s.z.data(), s.out2.data(), s.f.data());
    else
      with_kernels(s.cpu.isa, [&](auto kernels) {
        kernels.adamw_row(step, n, s.out.data(), s.z.data(), s.out2.data(), s.f.data());
      });
  }));
  return cases;
}

}  // namespace expert::tests
