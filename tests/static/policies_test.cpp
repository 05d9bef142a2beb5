// What the policy layer promises at compile time: order does not matter, defaults fill slots, With<> replaces, and a
// stranger's policy is as good as ours.
#include <span>

#include "catch.hpp"
#include "expert/policy/type_name.hpp"
#include "experts/expert-sql/expert.hpp"

namespace policies_test {
using namespace expert;

// ---- policies of a user, outside the library: nothing in expert:: is edited or specialised
namespace lab {

struct QueryLoRA : LoRA<256, 256, Targets<Projection::q_proj>> {
  static constexpr auto describe() { return describe_adapter("query-lora"); }
};
struct HalfSpeedRope {
  using slot = slots::rope;
  static constexpr auto describe() { return std::array{Field{"/base_models/0/rope_scaling/type", "half-speed"}}; }
  static constexpr std::int64_t longest_context(std::int64_t trained) { return 2 * trained; }
  static float inv_freq(std::span<float> out, double theta, std::int64_t head_dim, std::int64_t trained,
                        std::int64_t length) {
    RopeDefault::inv_freq(out, theta, head_dim, trained, length);
    for (float& f : out) f /= 2;
    return 1;
  }
};
struct Lion {
  using slot = slots::optimizer;
  static constexpr std::string_view optim = "lion";
  static constexpr std::int64_t moments = 1;
  static void update(const UpdateStep&, std::int64_t, float*, const float*, float*, float*) noexcept {}
  static constexpr auto describe() { return std::array{Field{"/training/config/optim", optim}}; }
};
struct MyBase : HfDecoder<96, 3, 6, 3, 32, 160, 515, false> {
  static constexpr std::string_view name = "MyBase";
  static constexpr auto describe() { return describe_model(name); }
};
struct NotEmpty {
  using slot = slots::batch;
  std::int64_t batch_size = 3;
  static constexpr auto describe() { return std::array{Field{"/training/config/batch_size", std::int64_t{3}}}; }
};

}  // namespace lab

static_assert(Policy<lab::QueryLoRA> && Policy<lab::HalfSpeedRope> && Policy<lab::Lion> && Policy<lab::MyBase>);
static_assert(!Policy<int> && !Policy<lab::NotEmpty> && !Policy<DoRA<0>> && !Policy<LoRA<4, 8, Targets<>>>);
static_assert(std::same_as<Expert<lab::QueryLoRA>::adapter, lab::QueryLoRA>);
static_assert(std::same_as<Expert<lab::Lion, DoRA<4>, lab::HalfSpeedRope>::rope, lab::HalfSpeedRope>);
static_assert(Expert<lab::MyBase, LoRA<4>>::model::vocab_size == 515);
static_assert(Expert<ExpertTiny, lab::HalfSpeedRope, DoRA<4>, Packing<4096>>::packing::max_seq_length == 4096);

// ---- order, defaults, replacement
using Sql = SqlExpert<>;
static_assert(std::same_as<Sql, Expert<KvPersistence, ParserStrict, Grammar<SqlPostgres>, Batch<32>, Packing<2048>,
                                       SdpaAttention, Int4Quant, DoRA<12>, RopeNtkByParts<8192, 32768>, Qwen3_0_6B>>);
static_assert(std::same_as<Expert<DoRA<12>, Int4Quant>, Expert<Int4Quant, DoRA<12, 24>>>);
static_assert(!std::same_as<Expert<DoRA<12>>, Expert<DoRA<12, 12>>>);
static_assert(std::same_as<Expert<DoRA<8>>::quant, Bf16Weights> && std::same_as<Expert<DoRA<8>>::compute::type, bf16>);
static_assert(std::same_as<Expert<DoRA<8>, Compute<f32>>::compute::type, float>);
static_assert(std::same_as<Expert<DoRA<8>>::head, HeadAsBase> && std::same_as<Expert<DoRA<8>>::kv, KvCache>);
static_assert(std::same_as<With<Sql>, Sql>);
static_assert(std::same_as<With<Sql, LoRA<4>>::adapter, LoRA<4>> && std::same_as<With<Sql, LoRA<4>>::quant, Int4Quant>);
static_assert(std::same_as<With<With<Sql, Batch<1>>, Batch<32>>, Sql>);
static_assert(std::same_as<TinySqlExpert::rope, Sql::rope> && std::same_as<TinySqlExpert::adapter, Sql::adapter> &&
              std::same_as<TinySqlExpert::grammar, Sql::grammar> && std::same_as<TinySqlExpert::kv, Sql::kv>);
// A combination may be mended before anyone uses it.
static_assert(std::same_as<With<Expert<Int4Quant, FullFineTune>, Bf16Weights>, Expert<FullFineTune>>);

// ---- loss chunks come out even
static_assert(Sql::loss::chunk_rows == 512 && TinySqlExpert::loss::chunk_rows == 512);
static_assert(Expert<DoRA<4>, Packing<600>>::loss::chunk_rows == 300);
static_assert(Expert<DoRA<4>, Packing<251>>::loss::chunk_rows == 251);
static_assert(Expert<DoRA<4>, Packing<96>, Batch<9>>::loss::chunk_rows == 432);
static_assert(With<Expert<DoRA<4>>, Packing<600>>::loss::chunk_rows == 300);
static_assert(Expert<DoRA<4>, ChunkedCrossEntropy<4096>, Packing<100>>::loss::chunk_rows == 4096);

// ---- adapters
static_assert(DoRA<12>::is_dora && !DoRA<12>::dropout_product && DoRAWithDropout<12>::dropout_product &&
              !LoRA<12>::is_dora);
static_assert(DoRA<12>::targets(Projection::up_proj) && !DoRA<12>::targets(Projection::gate_proj));
static_assert(LoRA<2, 4, AllSevenTargets>::targets(Projection::gate_proj));
static_assert(DoRA<12>::alpha == 24 && LoRA<8, 4>::alpha == 4 && RsLoRA<8>::rank_stabilized);
static_assert(NoAdapter::r == 0 && !NoAdapter::targets(Projection::q_proj));
static_assert(Budget<24_GiB>::bytes == std::int64_t{24} * 1024 * 1024 * 1024);

TEST_CASE("scaling is PEFT's: alpha / r, or alpha / sqrt(r) when rank-stabilised", "[policies]") {
  CHECK(DoRA<12>::scaling() == 2.0);
  CHECK(LoRA<8, 4>::scaling() == 0.5);
  CHECK(RsLoRA<16, 8>::scaling() == 2.0);
}

TEST_CASE("a type has a name without namespaces", "[policies]") {
  CHECK(type_name<Int4Quant>() == "Int4Quant");
  CHECK(type_name<Compute<bf16>>() == "Compute<bf16>");
  CHECK(type_name<Grammar<SqlPostgres>>() == "Grammar<SqlPostgres>");
  CHECK(type_name<lab::Lion>() == "policies_test::lab::Lion");
  CHECK(type_name<DoRA<12>>().starts_with("DoRA<12"));
}

}  // namespace policies_test
