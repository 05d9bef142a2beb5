#include "expert/cpu/attention.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "expert/core/random.hpp"
#include "expert/cpu/instances.hpp"
#include "usable_isas.hpp"

namespace cpu_attention_test {
using namespace expert;

namespace {

template <class T>
std::vector<T> normal_values(std::int64_t n, std::uint64_t seed) {
  const RandomStream random(seed, Purpose::random_base);
  std::vector<T> v(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = T(static_cast<float>(random.normal(i)));
  return v;
}

// Documents of these lengths one behind the other; each token sees its own document up to itself, and `prefix` keys
// before.
std::vector<KeyRanges> documents(std::initializer_list<std::int32_t> lengths, std::int32_t prefix = 0) {
  std::vector<KeyRanges> keys;
  std::int32_t start = prefix;
  for (std::int32_t i = 0; i < prefix; ++i) keys.push_back({0, 0, 0, i + 1});
  for (const std::int32_t n : lengths) {
    for (std::int32_t i = 0; i < n; ++i) keys.push_back({0, prefix, start, start + i + 1});
    start += n;
  }
  return keys;
}

// Two disjoint ranges for each query, begin and end at random, some empty.
std::vector<KeyRanges> random_ranges(std::int32_t queries, std::int32_t keys_count, std::uint64_t seed) {
  const RandomStream random(seed, Purpose::shuffle);
  std::vector<KeyRanges> keys;
  for (std::uint64_t t = 0; t < static_cast<std::uint64_t>(queries); ++t) {
    std::int32_t cut[4];
    for (std::uint64_t i = 0; i < 4; ++i)
      cut[i] = static_cast<std::int32_t>(random.below(4 * t + i, static_cast<std::uint32_t>(keys_count) + 1));
    std::sort(cut, cut + 4);
    if (t % 7 == 3) cut[1] = cut[0];
    if (t % 11 == 5) cut[3] = cut[2];
    if (t % 5 == 1)
      cut[0] = 0, cut[2] = keys_count / 2, cut[1] = std::min(cut[1], cut[2]), cut[3] = std::max(cut[3], cut[2]);
    keys.push_back({cut[0], cut[1], cut[2], cut[3]});
  }
  return keys;
}

template <class T>
struct Case {
  std::int64_t heads, kv_heads, head_dim, keys_count;
  std::vector<KeyRanges> keys;
  std::int64_t pad = 0;
  float scale = 0.3f;
  std::vector<T> q{}, k{}, v{}, out{}, d_out{}, d_q{}, d_k{}, d_v{};
  std::vector<float> lse{};

  std::int64_t queries() const { return static_cast<std::int64_t>(keys.size()); }
  std::int64_t q_stride() const { return heads * head_dim + pad; }
  std::int64_t kv_stride() const { return kv_heads * head_dim + 2 * pad; }
  void fill(std::uint64_t seed) {
    q = normal_values<T>(queries() * q_stride() + 1, seed);
    k = normal_values<T>(keys_count * kv_stride() + 1, seed + 1);
    v = normal_values<T>(keys_count * kv_stride() + 1, seed + 2);
    d_out = normal_values<T>(queries() * q_stride() + 1, seed + 3);
  }
  void run(Cpu cpu) {
    out.assign(q.size(), T(9.0f)), d_q = out, d_k.assign(k.size(), T(9.0f)), d_v = d_k;
    lse.assign(static_cast<std::size_t>(queries() * heads), 9.0f);
    attention_forward(cpu, queries(), heads, kv_heads, head_dim, scale, q.data(), q_stride(), k.data(), v.data(),
                      {kv_stride(), head_dim}, keys.data(), out.data(), q_stride(), lse.data());
    attention_backward(cpu, queries(), keys_count, heads, kv_heads, head_dim, scale, q.data(), q_stride(), k.data(),
                       v.data(), kv_stride(), keys.data(), out.data(), q_stride(), lse.data(), d_out.data(), q_stride(),
                       d_q.data(), q_stride(), d_k.data(), d_v.data(), kv_stride());
  }
};

struct Exact {
  std::vector<double> out, lse, d_q, d_k, d_v;
};

// The equations of ops/attention.hpp in f64, with every probability stored.
template <class T>
Exact exact(const Case<T>& c) {
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  Exact e;
  e.out.assign(c.q.size(), 0), e.d_q = e.out, e.d_k.assign(c.k.size(), 0), e.d_v = e.d_k;
  e.lse.assign(at(c.queries() * c.heads), -std::numeric_limits<double>::infinity());
  for (std::int64_t t = 0; t < c.queries(); ++t)
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const std::int64_t qa = t * c.q_stride() + h * c.head_dim, kv = h / (c.heads / c.kv_heads) * c.head_dim;
      const auto product = [&](const std::vector<T>& a, std::int64_t ai, const std::vector<T>& b, std::int64_t bi) {
        double sum = 0;
        for (std::int64_t d = 0; d < c.head_dim; ++d)
          sum += double{float(a[at(ai + d)])} * double{float(b[at(bi + d)])};
        return sum;
      };
      const KeyRanges r = c.keys[at(t)];
      std::vector<std::int64_t> seen;
      for (std::int64_t j = 0; j < c.keys_count; ++j)
        if ((j >= r.p0 && j < r.p1) || (j >= r.d0 && j < r.d1)) seen.push_back(j);
      if (seen.empty()) continue;
      std::vector<double> p;
      double sum = 0;
      for (const std::int64_t j : seen)
        sum += p.emplace_back(std::exp(double{c.scale} * product(c.q, qa, c.k, j * c.kv_stride() + kv)));
      e.lse[at(t * c.heads + h)] = std::log(sum);
      double delta = 0;
      for (std::size_t i = 0; i < seen.size(); ++i) {
        p[i] /= sum;
        delta += p[i] * product(c.d_out, qa, c.v, seen[i] * c.kv_stride() + kv);
      }
      for (std::size_t i = 0; i < seen.size(); ++i) {
        const std::int64_t ka = seen[i] * c.kv_stride() + kv;
        const double ds = double{c.scale} * p[i] * (product(c.d_out, qa, c.v, ka) - delta);
        for (std::int64_t d = 0; d < c.head_dim; ++d) {
          e.out[at(qa + d)] += p[i] * double{float(c.v[at(ka + d)])};
          e.d_q[at(qa + d)] += ds * double{float(c.k[at(ka + d)])};
          e.d_k[at(ka + d)] += ds * double{float(c.q[at(qa + d)])};
          e.d_v[at(ka + d)] += p[i] * double{float(c.d_out[at(qa + d)])};
        }
      }
    }
  return e;
}

// Largest error over the numbers inside the rows, as a share of the largest exact number; the padding must be
// untouched.
template <class T>
double error_of(const std::vector<T>& got, const std::vector<double>& expected, std::int64_t width,
                std::int64_t stride) {
  double worst = 0, largest = 0.1;
  for (const double x : expected) largest = std::max(largest, std::abs(x));
  for (std::size_t i = 0; i + 1 < got.size(); ++i) {
    const bool padding = static_cast<std::int64_t>(i) % stride >= width;
    const double error = std::abs(double{float(got[i])} - (padding ? 9.0 : expected[i]));
    if (!(error <= worst)) worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
  }
  return worst / largest;
}

template <class T>
void check(Case<T> c, Isa isa, int threads = 2) {
  c.fill(1);
  CpuDevice device(threads, isa);
  c.run(device.cpu());
  const Exact e = exact(c);
  const std::int64_t q_width = c.heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
  INFO(name_of(isa) << ", " << c.queries() << " queries, heads " << c.heads << " / " << c.kv_heads << ", head_dim "
                    << c.head_dim);
  const double tolerance = sizeof(T) == 2 ? 0x1p-8 : 4e-6, gradient = sizeof(T) == 2 ? 3 * 0x1p-8 : 2e-5;
  CHECK(error_of(c.out, e.out, q_width, c.q_stride()) < tolerance);
  CHECK(error_of(c.d_q, e.d_q, q_width, c.q_stride()) < gradient);
  CHECK(error_of(c.d_k, e.d_k, kv_width, c.kv_stride()) < gradient);
  CHECK(error_of(c.d_v, e.d_v, kv_width, c.kv_stride()) < gradient);
  bool same = true;
  for (std::size_t i = 0; i < c.lse.size(); ++i)
    same = same && (std::isinf(e.lse[i]) ? double{c.lse[i]} == e.lse[i] : std::abs(double{c.lse[i]} - e.lse[i]) < 2e-5);
  CHECK(same);
}

template <class T>
bool equal_bits(const std::vector<T>& a, std::size_t a_first, const std::vector<T>& b, std::size_t b_first,
                std::size_t n) {
  return std::memcmp(static_cast<const void*>(a.data() + a_first), static_cast<const void*>(b.data() + b_first),
                     n * sizeof(T)) == 0;
}

}  // namespace

TEMPLATE_TEST_CASE("attention equals the f64 equations for packed documents, every grouping and head size",
                   "[attention]", float, bf16) {
  for (const Isa isa : all_usable_isas()) {
    check<TestType>({.heads = 4, .kv_heads = 2, .head_dim = 64, .keys_count = 150, .keys = documents({70, 3, 1, 76})},
                    isa);
    check<TestType>(
        {.heads = 6, .kv_heads = 3, .head_dim = 32, .keys_count = 140, .keys = documents({30, 60}, 50), .pad = 3}, isa);
    check<TestType>({.heads = 2, .kv_heads = 2, .head_dim = 128, .keys_count = 300, .keys = documents({300})}, isa);
    check<TestType>({.heads = 16, .kv_heads = 1, .head_dim = 8, .keys_count = 40, .keys = documents({17, 23})}, isa);
    check<TestType>({.heads = 3, .kv_heads = 1, .head_dim = 20, .keys_count = 1, .keys = documents({1}), .pad = 1},
                    isa);
    check<TestType>({.heads = 8, .kv_heads = 4, .head_dim = 16, .keys_count = 260, .keys = documents({131, 129})}, isa,
                    3);
    check<TestType>({.heads = 2, .kv_heads = 1, .head_dim = 300, .keys_count = 30, .keys = documents({20, 10})}, isa);
    check<TestType>({.heads = 1, .kv_heads = 1, .head_dim = 512, .keys_count = 135, .keys = documents({135})}, isa);
    check<TestType>({.heads = 130, .kv_heads = 1, .head_dim = 8, .keys_count = 9, .keys = documents({4, 5})}, isa);
    // Longer than a stripe of keys, across the border of two, and with a prefix in another one.
    check<TestType>({.heads = 2, .kv_heads = 1, .head_dim = 8, .keys_count = 1300, .keys = documents({200, 500, 600})},
                    isa);
    check<TestType>({.heads = 3, .kv_heads = 1, .head_dim = 8, .keys_count = 750, .keys = documents({300, 400}, 50)},
                    isa);
  }
}

TEMPLATE_TEST_CASE("attention equals the f64 equations for any ranges, empty ones too", "[attention]", float, bf16) {
  for (const Isa isa : all_usable_isas())
    for (std::uint64_t seed = 0; seed < 3; ++seed)
      check<TestType>({.heads = 4,
                       .kv_heads = 2,
                       .head_dim = 24,
                       .keys_count = 310,
                       .keys = random_ranges(90, 310, seed),
                       .pad = 2},
                      isa);
}

TEMPLATE_TEST_CASE("a decode step sees the cache: one query for each of four sequences", "[attention]", float, bf16) {
  for (const Isa isa : all_usable_isas())
    for (const std::int64_t head_dim : {20, 64, 300})
      for (const std::int64_t heads : {2, 4, 6, 8})  // one to four that share their keys
        check<TestType>({.heads = heads,
                         .kv_heads = 2,
                         .head_dim = head_dim,
                         .keys_count = 800,
                         .keys = {{0, 0, 0, 200}, {0, 0, 200, 201}, {0, 30, 400, 555}, {0, 0, 600, 800}}},
                        isa);
}

TEST_CASE("queries of one decode step have the bits that each has alone", "[attention]") {
  for (const Isa isa : all_usable_isas())
    for (const std::size_t heads : {std::size_t{4}, std::size_t{6}}) {
      Case<bf16> c{.heads = static_cast<std::int64_t>(heads),
                   .kv_heads = 2,
                   .head_dim = 40,
                   .keys_count = 310,
                   .keys = random_ranges(8, 310, 9)};
      c.fill(7);
      CpuDevice device(2, isa);
      c.run(device.cpu());
      for (std::size_t t = 0; t < 8; ++t) {
        const std::size_t width = static_cast<std::size_t>(c.q_stride());
        Case<bf16> alone = c;
        alone.keys = {c.keys[t]};
        alone.q.assign(c.q.begin() + static_cast<std::ptrdiff_t>(t * width),
                       c.q.begin() + static_cast<std::ptrdiff_t>((t + 1) * width));
        alone.d_out = alone.q;
        alone.run(device.cpu());
        CHECK(equal_bits(alone.out, 0, c.out, t * width, width));
        CHECK(equal_bits(alone.lse, 0, c.lse, t * heads, heads));
      }
    }
}

TEMPLATE_TEST_CASE("where the heads of the keys lie changes no bit, for few queries and many", "[attention]", float,
                   bf16) {
  for (const Isa isa : all_usable_isas())
    for (const std::int32_t queries : {1, 5, 150})
      for (const std::int64_t heads : {3, 6}) {
        Case<TestType> c{.heads = heads,
                         .kv_heads = 3,
                         .head_dim = 24,
                         .keys_count = 310,
                         .keys = random_ranges(queries, 310, 5),
                         .pad = 1};
        c.fill(3);
        CpuDevice device(2, isa);
        Cpu cpu = device.cpu();
        c.run(cpu);
        // Heads one behind the other, with a gap between two and room behind each key.
        const HeadLayout apart{26, 310 * 26 + 7};
        std::vector<TestType> k(static_cast<std::size_t>(3 * apart.head), TestType(9.0f)), v = k, out(c.q.size());
        for (std::int64_t j = 0; j < 310; ++j)
          for (std::int64_t d = 0; d < 3 * 24; ++d) {
            const auto to = static_cast<std::size_t>(j * apart.token + d / 24 * apart.head + d % 24),
                       from = static_cast<std::size_t>(j * c.kv_stride() + d);
            k[to] = c.k[from], v[to] = c.v[from];
          }
        std::vector<float> lse(c.lse.size());
        attention_forward(cpu, c.queries(), heads, 3, 24, c.scale, c.q.data(), c.q_stride(), k.data(), v.data(), apart,
                          c.keys.data(), out.data(), c.q_stride(), lse.data());
        const auto width = static_cast<std::size_t>(heads * 24), stride = static_cast<std::size_t>(c.q_stride());
        bool same = equal_bits(lse, 0, c.lse, 0, lse.size());
        for (std::size_t t = 0; t < c.keys.size(); ++t)
          same = same && equal_bits(out, t * stride, c.out, t * stride, width);
        CHECK(same);
        if (isa != Isa::Scalar) continue;
        std::vector<TestType> expected(c.q.size());
        reference::attention_forward(c.queries(), heads, 3, 24, c.scale, c.q.data(), c.q_stride(), c.k.data(),
                                     c.v.data(), {c.kv_stride(), 24}, c.keys.data(), expected.data(), c.q_stride(),
                                     lse.data());
        reference::attention_forward(c.queries(), heads, 3, 24, c.scale, c.q.data(), c.q_stride(), k.data(), v.data(),
                                     apart, c.keys.data(), out.data(), c.q_stride(), lse.data());
        for (std::size_t t = 0; t < c.keys.size(); ++t) CHECK(equal_bits(out, t * stride, expected, t * stride, width));
      }
}

TEST_CASE("a query without keys gives zeros, minus infinity, and no gradient", "[attention]") {
  for (const Isa isa : all_usable_isas()) {
    Case<float> c{.heads = 2, .kv_heads = 1, .head_dim = 8, .keys_count = 5, .keys = {{0, 0, 0, 0}, {3, 3, 2, 2}}};
    c.fill(4);
    CpuDevice device(1, isa);
    c.run(device.cpu());
    c.out.pop_back(), c.d_q.pop_back(), c.d_k.pop_back(), c.d_v.pop_back();
    for (const auto* zeros : {&c.out, &c.d_q, &c.d_k, &c.d_v}) CHECK(*zeros == std::vector<float>(zeros->size()));
    for (const float lse : c.lse) CHECK(lse == -std::numeric_limits<float>::infinity());
  }
}

TEST_CASE("scores far beyond exp's range neither overflow nor vanish", "[attention]") {
  for (const Isa isa : all_usable_isas()) {
    Case<float> c{
        .heads = 1, .kv_heads = 1, .head_dim = 8, .keys_count = 140, .keys = documents({140}), .scale = 200.0f};
    c.fill(5);
    CpuDevice device(1, isa);
    c.run(device.cpu());
    bool finite = true;
    for (const auto* values : {&c.out, &c.d_q, &c.d_k, &c.d_v, &c.lse})
      for (const float x : *values) finite = finite && std::isfinite(x);
    CHECK(finite);
  }
}

TEST_CASE("the gradients agree with finite differences", "[attention]") {
  for (const Isa isa : all_usable_isas()) {
    Case<float> c{.heads = 4, .kv_heads = 2, .head_dim = 8, .keys_count = 11, .keys = documents({3, 5}, 3)};
    c.fill(6);
    CpuDevice device(1, isa);
    const auto loss = [&](const Case<float>& at) {
      Case<float> copy = at;
      copy.run(device.cpu());
      double sum = 0;
      for (std::size_t i = 0; i + 1 < copy.out.size(); ++i) sum += double{copy.out[i]} * double{at.d_out[i]};
      return sum;
    };
    Case<float> gradients = c;
    gradients.run(device.cpu());
    const auto compare = [&](std::vector<float> Case<float>::* x, const std::vector<float>& d_x) {
      double worst = 0;
      for (std::size_t i = 0; i + 1 < d_x.size(); i += 3) {
        constexpr float h = 1e-2f;
        Case<float> up = c, down = c;
        (up.*x)[i] += h, (down.*x)[i] -= h;
        worst = std::max(worst, std::abs((loss(up) - loss(down)) / (2 * double{h}) - double{d_x[i]}));
      }
      return worst;
    };
    CHECK(compare(&Case<float>::q, gradients.d_q) < 2e-3);
    CHECK(compare(&Case<float>::k, gradients.d_k) < 2e-3);
    CHECK(compare(&Case<float>::v, gradients.d_v) < 2e-3);
  }
}

TEMPLATE_TEST_CASE("the bits do not depend on the number of threads", "[attention]", float, bf16) {
  for (const Isa isa : all_usable_isas()) {
    Case<TestType> first;
    for (const int threads : {1, 2, 3, 8}) {
      Case<TestType> c{
          .heads = 4, .kv_heads = 2, .head_dim = 40, .keys_count = 350, .keys = documents({140, 20, 130}, 60)};
      c.fill(7);
      CpuDevice device(threads, isa);
      c.run(device.cpu());
      if (threads == 1) first = c;
      CHECK(equal_bits(first.out, 0, c.out, 0, c.out.size()));
      CHECK(equal_bits(first.lse, 0, c.lse, 0, c.lse.size()));
      CHECK(equal_bits(first.d_q, 0, c.d_q, 0, c.d_q.size()));
      CHECK(equal_bits(first.d_k, 0, c.d_k, 0, c.d_k.size()));
      CHECK(equal_bits(first.d_v, 0, c.d_v, 0, c.d_v.size()));
    }
  }
}

TEMPLATE_TEST_CASE("another document changes no bit of this one, not even by NaN; its own gradient does change",
                   "[attention]", float, bf16) {
  for (const Isa isa : all_usable_isas()) {
    Case<TestType> c{.heads = 4, .kv_heads = 2, .head_dim = 32, .keys_count = 240, .keys = documents({100, 90, 50})};
    c.fill(8);
    CpuDevice device(2, isa);
    Case<TestType> before = c;
    before.run(device.cpu());
    const std::size_t q_begin = 100 * 128, q_end = 190 * 128, k_begin = 100 * 64, k_end = 190 * 64;
    for (const float poison : {3.0f, std::numeric_limits<float>::quiet_NaN()}) {
      Case<TestType> after = c;
      for (std::size_t i = q_begin; i < q_end; ++i) after.q[i] = after.d_out[i] = poison;
      for (std::size_t i = k_begin; i < k_end; ++i) after.k[i] = after.v[i] = poison;
      after.run(device.cpu());
      CHECK(equal_bits(before.out, 0, after.out, 0, q_begin));
      CHECK(equal_bits(before.out, q_end, after.out, q_end, 50 * 128));
      CHECK(equal_bits(before.d_q, 0, after.d_q, 0, q_begin));
      CHECK(equal_bits(before.d_k, 0, after.d_k, 0, k_begin));
      CHECK(equal_bits(before.d_v, 0, after.d_v, 0, k_begin));
      CHECK(equal_bits(before.d_k, k_end, after.d_k, k_end, 50 * 64));
      CHECK(equal_bits(before.d_v, k_end, after.d_v, k_end, 50 * 64));
      CHECK_FALSE(equal_bits(before.d_k, k_begin, after.d_k, k_begin, 90 * 64));
    }
  }
}

TEMPLATE_TEST_CASE("a document has the same output bits alone, packed behind another, and, in f32, token by token",
                   "[attention]", float, bf16) {
  for (const Isa isa : all_usable_isas()) {
    constexpr std::int64_t n = 150, row = 4 * 32, kv_row = 2 * 32;
    Case<TestType> packed{.heads = 4, .kv_heads = 2, .head_dim = 32, .keys_count = 37 + n, .keys = documents({37, n})};
    packed.fill(9);
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    packed.run(cpu);
    const auto alone_keys = documents({n});
    std::vector<TestType> out(n * row);
    std::vector<float> lse(n * 4);
    const TestType *q = packed.q.data() + 37 * row, *k = packed.k.data() + 37 * kv_row,
                   *v = packed.v.data() + 37 * kv_row;
    attention_forward(cpu, n, 4, 2, 32, 0.3f, q, row, k, v, {kv_row, 32}, alone_keys.data(), out.data(), row,
                      lse.data());
    CHECK(equal_bits(out, 0, packed.out, 37 * row, out.size()));
    if constexpr (std::is_same_v<TestType, bf16>) continue;  // there a few tokens have an arithmetic of their own
    std::vector<TestType> one(row);
    std::vector<float> one_lse(4);
    bool same = true;
    for (std::size_t t = 0; t < n; t += 7) {
      attention_forward(cpu, 1, 4, 2, 32, 0.3f, q + t * row, row, k, v, {kv_row, 32}, alone_keys.data() + t, one.data(),
                        row, one_lse.data());
      same = same && equal_bits(one, 0, out, t * row, row) && equal_bits(one_lse, 0, lse, t * 4, 4);
    }
    CHECK(same);
  }
}

TEST_CASE("the widest head fits the workspace of a thread", "[attention]") {
  const auto fits = []<class Products>(std::type_identity<Products>) {
    for (std::int64_t head_dim = 1; head_dim <= max_head_dim; ++head_dim)
      REQUIRE(detail::AttentionScratch<Products>(nullptr, head_dim, true).floats + Products::kept_floats(head_dim) <=
              workspace_floats_per_thread);
  };
  for (const Isa isa : all_usable_isas()) {
    detail::with_attention_products<float>(isa, fits);
    detail::with_attention_products<bf16>(isa, fits);
  }
}

}  // namespace cpu_attention_test
