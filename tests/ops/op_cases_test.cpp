// Every op of the registry against its reference, on every instruction set.
#include "op_cases.hpp"
#include "catch.hpp"
#include "usable_isas.hpp"

namespace op_cases_test {
using namespace expert;

TEST_CASE("every op is within its tolerance of the reference, on each instruction set", "[ops]") {
  for (const Isa isa : all_usable_isas()) {
    CpuDevice device(2, isa);
    Cpu cpu = device.cpu();
    // Neither rows nor widths fill the kernels' blocks.
    for (const tests::OpCase& op : tests::op_cases(35, 192, 328, 1003)) {
      INFO(op.name << " on " << name_of(isa));
      const tests::OpRun run = op.make(cpu);
      run.once();
      const double error = run.error();
      CHECK(error <= op.tolerance);
      CHECK(error >= 0);
    }
  }
}

}  // namespace op_cases_test
