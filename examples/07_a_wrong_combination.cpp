// Why: a combination that cannot work does not compile, and says why in one sentence. Compile this file with -DWRONG to
// see it:
//   EXPERT-E012: the base weights are quantised integers and take no gradient, but this tuning trains them. Use DoRA<r>
//   or LoRA<r> with AdapterOnly (QLoRA), or Bf16Weights with FullFineTune.
#include <cstdio>
#include <expert/plan/parameters.hpp>
#include <expert/policy/assemble.hpp>
#include <expert/policy/type_name.hpp>

using namespace expert;

#ifdef WRONG
using Mine = Expert<Qwen3_0_6B, Int4Quant, FullFineTune>;
#else
using Mine = Expert<Qwen3_0_6B, Int4Quant, LoRA<8>>;
#endif

int main() {
  std::printf("%s\n%lld parameters to train\n", type_name<Mine>().c_str(), (long long)trainable_parameters<Mine>);
}
