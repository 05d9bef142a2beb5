#include <cmath>
#include <vector>

#include "catch.hpp"
#include "expert/cpu/packed_linear.hpp"
#include "packed_sample.hpp"
#include "usable_isas.hpp"

namespace packed_test {
using namespace expert;
using namespace expert::tests;

namespace {

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
    forward_of(cpu, rows, s.packed, x.data(), x.ld, forward.data(), forward.ld);
    backward_of(cpu, rows, s.packed, d_y.data(), d_y.ld, pad == 0, backward.data(), backward.ld);
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

}  // namespace packed_test
