// The tensor table against the known sizes of Qwen3 and against itself.
#include "expert/plan/tensors.hpp"
#include "catch.hpp"
#include "expert/policy/model.hpp"

namespace tensors_test {
using namespace expert;

static_assert(linear_parameters<Qwen3_0_6B>() == 440'401'920);
static_assert(model_parameters<Qwen3_0_6B>() == 596'049'920);    // Qwen3-0.6B's model.safetensors, head tied
static_assert(model_parameters<Qwen3_1_7B>() == 1'720'574'976);  // its tied head counted once
static_assert(model_parameters<Qwen3_4B>() == 4'022'468'096);
static_assert(adapter_parameters<Qwen3_0_6B, DoRA<12>>() == 6'451'200);
static_assert(adapter_parameters<Qwen3_0_6B, NoAdapter>() == 0);
static_assert(adapter_parameters<Qwen3_0_6B, LoRA<1, 1, Targets<Projection::q_proj>>>() == 28 * (1024 + 2048));

namespace {

// Widths that no two of which are equal, so that a swapped dimension shows: q 6 * 32 = 192, kv 3 * 32 = 96.
using Odd = HfDecoder<80, 3, 6, 3, 32, 160, 515, false>;

template <class M>
std::int64_t elements() {
  std::int64_t n = 0;
  for (const TensorSpec& tensor : model_tensors<M>()) {
    std::int64_t size = 1;
    for (const std::int64_t d : tensor.shape) size *= d;
    n += size;
  }
  return n;
}
std::vector<std::int64_t> shape_of(const std::vector<TensorSpec>& tensors, std::string_view name) {
  for (const TensorSpec& tensor : tensors)
    if (tensor.name == name) return tensor.shape;
  return {};
}

}  // namespace

TEST_CASE("the elements of all tensors add up to the parameter count", "[tensors]") {
  CHECK(elements<Odd>() == model_parameters<Odd>());
  CHECK(elements<ExpertTiny>() == model_parameters<ExpertTiny>());
  CHECK(elements<Qwen3_0_6B>() == model_parameters<Qwen3_0_6B>());
}

TEST_CASE("projections are (out, in) under transformers' names", "[tensors]") {
  using Shape = std::vector<std::int64_t>;
  const auto tensors = model_tensors<Odd>();
  CHECK(tensors.size() == 3 * 11 + 3);
  CHECK(shape_of(tensors, "model.embed_tokens.weight") == Shape{515, 80});
  CHECK(shape_of(tensors, "model.layers.2.self_attn.q_proj.weight") == Shape{192, 80});
  CHECK(shape_of(tensors, "model.layers.0.self_attn.k_proj.weight") == Shape{96, 80});
  CHECK(shape_of(tensors, "model.layers.0.self_attn.v_proj.weight") == Shape{96, 80});
  CHECK(shape_of(tensors, "model.layers.0.self_attn.o_proj.weight") == Shape{80, 192});
  CHECK(shape_of(tensors, "model.layers.1.self_attn.q_norm.weight") == Shape{32});
  CHECK(shape_of(tensors, "model.layers.1.self_attn.k_norm.weight") == Shape{32});
  CHECK(shape_of(tensors, "model.layers.1.mlp.gate_proj.weight") == Shape{160, 80});
  CHECK(shape_of(tensors, "model.layers.1.mlp.up_proj.weight") == Shape{160, 80});
  CHECK(shape_of(tensors, "model.layers.1.mlp.down_proj.weight") == Shape{80, 160});
  CHECK(shape_of(tensors, "model.layers.1.input_layernorm.weight") == Shape{80});
  CHECK(shape_of(tensors, "model.layers.1.post_attention_layernorm.weight") == Shape{80});
  CHECK(shape_of(tensors, "model.norm.weight") == Shape{80});
  CHECK(shape_of(tensors, "lm_head.weight") == Shape{515, 80});
}

TEST_CASE("a tied head is not in the checkpoint", "[tensors]") {
  CHECK(shape_of(model_tensors<ExpertTiny>(), "lm_head.weight").empty());
}

}  // namespace tensors_test
