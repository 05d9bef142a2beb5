#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "expert/cpu/pack.hpp"
#include "expert/cpu/packed_linear.hpp"
#include "usable_isas.hpp"

using namespace expert;

namespace {

// Uniform in [-1, 1); a linear congruential generator, because the library's own would be most of the running time.
struct Random {
  std::uint64_t state;
  std::uint32_t bits() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>(state >> 33);
  }
  float number() { return static_cast<float>(bits()) * 0x1p-30f - 1.0f; }
};
template <class T>
std::vector<T> random_values(std::int64_t n, std::uint64_t seed) {
  Random random{seed};
  std::vector<T> v(static_cast<std::size_t>(n));
  for (T& x : v) x = T(random.number());
  return v;
}
std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

// A matrix, packed, and its numbers by the reference of its format.
struct Sample {
  PackedMatrix packed;
  std::vector<float> dense;
  std::vector<AlignedBytes> memory;
};

constexpr std::string_view name_of_format(PackedFormat f) {
  constexpr std::string_view names[] = {"nf4", "int4_affine", "int8", "bf16"};
  return names[static_cast<std::size_t>(f)];
}

// NF4 double quantised in blocks of 64, affine groups of 32, weights whose rows differ in size.
Sample sample(Cpu& cpu, PackedFormat format, std::int64_t out, std::int64_t in) {
  Sample s;
  std::vector<float> w = random_values<float>(out * in, 7);
  for (std::int64_t i = 0; i < out * in; ++i) w[index(i)] *= 1.0f + 0.1f * static_cast<float>(i / in % 7);
  s.dense.resize(w.size());
  const auto shaped = [&](std::int64_t group) {
    s.packed = packed_shape(format, out, in, group);
    s.memory.emplace_back(s.packed.packed_bytes());
    s.packed.place(s.memory.back().data());
    return s.memory.back().data();
  };
  if (format == PackedFormat::nf4) {
    const std::int64_t blocks = (out * in + 63) / 64;
    std::vector<std::uint8_t> codes(index((out * in + 1) / 2)), scale_codes(index(blocks));
    std::vector<float> absmax(index(blocks)), nested(index((blocks + 255) / 256));
    BlockScales scales{nullptr, scale_codes.data(), nested.data(), 0};
    reference::quantize_4bit(nf4_code, w.data(), out * in, 64, codes.data(), absmax.data());
    reference::quantize_scales(absmax.data(), blocks, scale_codes.data(), nested.data(), scales.offset);
    reference::dequantize_4bit(nf4_code, codes.data(), scales, 64, 0, out * in, s.dense.data());
    pack_nf4(cpu, s.packed, codes.data(), scales, 64, shaped(64));
  } else if (format == PackedFormat::int4_affine) {
    const std::int64_t group = 32, groups = (in + group - 1) / group;
    Random random{3};
    std::vector<std::uint8_t> codes(index((out * in + 1) / 2));
    for (auto& byte : codes) byte = static_cast<std::uint8_t>(random.bits());
    auto scales = random_values<float>(out * groups, 4), zeros = random_values<float>(out * groups, 5);
    for (float& z : zeros) z = std::floor(8 + 8 * z);
    for (std::int64_t n = 0; n < out; ++n)
      for (std::int64_t k = 0; k < in; ++k) {
        const std::int64_t at = n * in + k, g = n * groups + k / group;
        const unsigned q = at % 2 == 0 ? unsigned{codes[index(at / 2)]} >> 4 : codes[index(at / 2)] & 15u;
        s.dense[index(at)] = (static_cast<float>(q) - zeros[index(g)]) * scales[index(g)];
      }
    pack_int4_affine(cpu, s.packed, codes.data(), scales.data(), zeros.data(), group, shaped(group));
  } else if (format == PackedFormat::int8) {
    std::vector<std::int8_t> codes(w.size());
    std::vector<float> absmax(index(out));
    for (std::int64_t n = 0; n < out; ++n) {
      reference::quantize_int8_row(&w[index(n * in)], in, &codes[index(n * in)], absmax[index(n)]);
      reference::dequantize_int8_row(&codes[index(n * in)], absmax[index(n)], in, &s.dense[index(n * in)]);
    }
    pack_int8(cpu, s.packed, codes.data(), absmax.data(), shaped(0));
  } else {
    const std::vector<bf16> narrow(w.begin(), w.end());
    std::vector<std::byte> unaligned(narrow.size() * 2 + 1);
    std::memcpy(unaligned.data() + 1, narrow.data(), narrow.size() * 2);
    s.dense.assign(narrow.begin(), narrow.end());
    pack_bf16(cpu, s.packed, unaligned.data() + 1, shaped(0));
  }
  return s;
}

constexpr PackedFormat formats[] = {PackedFormat::nf4, PackedFormat::int4_affine, PackedFormat::int8,
                                    PackedFormat::bf16};

struct Shape {
  std::int64_t out, in;
};
// One number, narrower than a block, NF4 blocks that begin inside rows, tails of strips and of blocks, several blocks
// of gemm.
const Shape shapes[] = {{1, 1}, {5, 33}, {17, 70}, {33, 96}, {64, 64}, {48, 288}, {515, 160}, {70, 1096}};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// rows x (in or out) numbers, `pad` more between rows, from an address that is aligned to nothing but T.
template <class T>
struct Operand {
  std::vector<T> numbers;
  std::int64_t ld;
  Operand(std::int64_t rows, std::int64_t cols, std::int64_t pad, std::uint64_t seed)
      : numbers(random_values<T>(rows * (cols + pad) + 1, seed)), ld(cols + pad) {}
  T* data() { return numbers.data() + 1; }
};

// Both products on packed weights, and the same on plain numbers.
template <class T, class W>
struct Products {
  Operand<T> forward, backward, plain_forward, plain_backward;
  Products(Cpu& cpu, const Sample& s, std::int64_t rows, std::int64_t pad)
      : forward(rows, s.packed.out, pad, 3),
        backward(rows, s.packed.in, pad, 4),
        plain_forward(forward),
        plain_backward(backward) {
    const std::int64_t out = s.packed.out, in = s.packed.in;
    Operand<T> x(rows, in, pad, 1), d_y(rows, out, 2 * pad, 2);
    const std::vector<W> w(s.dense.begin(), s.dense.end());
    packed_forward(cpu, rows, s.packed, x.data(), x.ld, forward.data(), forward.ld);
    packed_backward_input(cpu, rows, s.packed, d_y.data(), d_y.ld, pad == 0, backward.data(), backward.ld);
    gemm(cpu, Trans::no, Trans::yes, rows, out, in, 1.0f, x.data(), x.ld, w.data(), in, 0.0f, plain_forward.data(),
         plain_forward.ld);
    gemm(cpu, Trans::no, Trans::no, rows, in, out, 1.0f, d_y.data(), d_y.ld, w.data(), in, pad == 0 ? 1.0f : 0.0f,
         plain_backward.data(), plain_backward.ld);
  }
};

}  // namespace

TEST_CASE("a packed matrix holds the reference's numbers, bit for bit", "[packed]") {
  CpuDevice device(2, Isa::Scalar);
  Cpu cpu = device.cpu();
  for (const PackedFormat format : formats)
    for (const Shape& shape : shapes) {
      INFO(name_of_format(format) << " " << shape.out << " x " << shape.in);
      const Sample s = sample(cpu, format, shape.out, shape.in);
      bool same = true, finite = true;
      for (std::int64_t n = 0; n < 16 * s.packed.strips(); ++n)
        for (std::int64_t k = 0; k < 8 * s.packed.blocks(); ++k) {
          const bool inside = n < shape.out && k < shape.in;
          if (!inside && !s.packed.whole_blocks()) continue;
          const float value = reference::packed_value(s.packed, n, k);
          finite = finite && std::isfinite(value);
          if (inside) same = same && value == s.dense[index(n * shape.in + k)];
        }
      CHECK(same);
      CHECK(finite);
    }
}

TEST_CASE("the packed size is that of the codes and of one scale for each group", "[packed]") {
  CHECK(packed_shape(PackedFormat::nf4, 3072, 1024, 64).packed_bytes() == 3072 * 1024 / 2 + 3072 * 1024 / 64 * 4);
  CHECK(packed_shape(PackedFormat::int4_affine, 64, 256, 128).packed_bytes() == 64 * 128 + 2 * 64 * 2 * 4);
  CHECK(packed_shape(PackedFormat::int8, 3072, 1024).packed_bytes() == 3072 * 1024 + 3072 * 4);
  CHECK(packed_shape(PackedFormat::bf16, 33, 96).packed_bytes() == 48 * 96 * 2);
  CHECK(packed_shape(PackedFormat::nf4, 33, 96, 64).group_shift == 5);
  CHECK(packed_shape(PackedFormat::int4_affine, 8, 100, 96).group_shift == 5);
  CHECK_FALSE(packed_shape(PackedFormat::nf4, 17, 70, 64).whole_blocks());
}

TEST_CASE("f32 products have the bits of the unpacked matrix, on each instruction set", "[packed]") {
  for (const Isa isa : all_usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    for (const PackedFormat format : formats)
      for (const Shape& shape : shapes) {
        const Sample s = sample(cpu, format, shape.out, shape.in);
        for (const std::int64_t rows : {1, 2, 3, 5, 8, 9, 40}) {
          INFO(name_of(isa) << " " << name_of_format(format) << " " << rows << " x " << shape.out << " x " << shape.in);
          Products<float, float> p(cpu, s, rows, rows % 3);
          CHECK(same_bits(p.forward.numbers, p.plain_forward.numbers));
          CHECK(same_bits(p.backward.numbers, p.plain_backward.numbers));
        }
      }
  }
}
