// The types that generate.cmake writes are those that the files describe.
#include <concepts>
#include <type_traits>

#include "catch.hpp"
#include "parity_sets.hpp"

namespace {

using expert::Projection;
using A = parity_sets::ParitySet0;
using B = parity_sets::ParitySet1;

template <class Set>
constexpr bool has_dora_r12 = requires { typename Set::dora_r12; };

static_assert(std::derived_from<A::model, expert::HfDecoder<64, 2, 4, 2, 32, 128, 512, true, 128>>);
static_assert(A::model::rms_norm_eps == 1e-6 && A::model::rope_theta == 1e6);
static_assert(std::derived_from<B::model, expert::HfDecoder<96, 3, 6, 3, 16, 160, 515, false, 64>>);
static_assert(B::model::rms_norm_eps == 1e-5 && B::model::rope_theta == 5000000.5);

static_assert(has_dora_r12<A> && !has_dora_r12<B>);
static_assert(std::same_as<A::dora_r12, expert::DoRA<12>> && std::same_as<A::lora_r4, expert::LoRA<4, 8>>);
static_assert(std::same_as<A::lora_r4_rslora_all7, expert::RsLoRA<4, 8, expert::AllSevenTargets>>);
static_assert(std::same_as<B::dora_r8, expert::DoRA<8, 24, expert::Targets<Projection::q_proj, Projection::up_proj>>>);
static_assert(std::same_as<B::rslora, expert::RsLoRA<4, 8, expert::Targets<Projection::gate_proj>>>);
static_assert(std::same_as<B::dropout, expert::DoRAWithDropout<4, 8, expert::Targets<Projection::o_proj>>>);

}  // namespace

TEST_CASE("a fixture set becomes types, with one adapter per folder", "[parity]") {
  STATIC_REQUIRE(std::tuple_size_v<parity_sets::ParitySets> == 2);
  STATIC_REQUIRE(std::tuple_size_v<A::adapters> == 6);
  STATIC_REQUIRE(std::tuple_size_v<B::adapters> == 3);
  CHECK(A::directory == EXPERT_SOURCE_DIR "/tests/parity/data");
  CHECK(std::tuple_element_t<0, B::adapters>::name == "dora-r8");
}
