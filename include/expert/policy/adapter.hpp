// Policies of slot `adapter`: what is added to which projections. Names, scaling and semantics are PEFT's.
#pragma once
#include <cmath>
#include <cstdint>
#include <string_view>

#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

enum class Projection : std::uint8_t { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj };

constexpr std::string_view name_of(Projection p) {
  constexpr std::string_view names[] = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
  return names[static_cast<std::size_t>(p)];
}

// The set of projections that an adapter changes: PEFT's target_modules.
template <Projection... Ps>
struct Targets {
  static constexpr std::array<std::string_view, sizeof...(Ps)> target_modules{name_of(Ps)...};
  static constexpr bool contains(Projection p) { return ((p == Ps) || ...); }
};
struct SixTargets : Targets<Projection::q_proj, Projection::k_proj, Projection::v_proj, Projection::o_proj,
                            Projection::up_proj, Projection::down_proj> {};
struct AllSevenTargets : Targets<Projection::q_proj, Projection::k_proj, Projection::v_proj, Projection::o_proj,
                                 Projection::gate_proj, Projection::up_proj, Projection::down_proj> {};

namespace detail {

enum class Scaling : std::uint8_t { by_rank, by_root_of_rank };

template <std::int64_t R, std::int64_t Alpha, class T, Scaling S>
struct LowRank {
  using slot = slots::adapter;
  static constexpr std::int64_t r = R, alpha = Alpha;
  static constexpr bool is_dora = false, dropout_product = false, rank_stabilized = S == Scaling::by_root_of_rank;
  static constexpr Strings target_modules{T::target_modules};
  static constexpr bool targets(Projection p) { return T::contains(p); }
  static constexpr bool valid = !T::target_modules.empty();
  static void explain() {
    static_assert(valid, "EXPERT-E023: this adapter changes no projection. Name at least one in Targets<...>.");
  }
  // What multiplies B A: LoraLayer.scaling of PEFT.
  static double scaling() {
    const auto rank = static_cast<double>(R);
    return static_cast<double>(Alpha) / (rank_stabilized ? std::sqrt(rank) : rank);
  }
  static constexpr auto describe_adapter(std::string_view type) {
    return std::array{Field{"/base_models/0/adapters/0/type", type},
                      Field{"/base_models/0/adapters/0/r", r},
                      Field{"/base_models/0/adapters/0/alpha", alpha},
                      Field{"/base_models/0/adapters/0/target_modules", target_modules},
                      Field{"/base_models/0/adapters/0/scaling", type, Presence::if_present},
                      Field{"/training/config/adapter_type", type, Presence::if_present},
                      Field{"/training/config/rank", r, Presence::if_present},
                      Field{"/training/config/alpha", alpha, Presence::if_present},
                      Field{"/training/config/target_modules", target_modules, Presence::if_present}};
  }
};

}  // namespace detail

// W' = W + (alpha / r) B A, A (r, in), B (out, r). arXiv 2106.09685.
template <std::int64_t R, std::int64_t Alpha = 2 * R, class T = SixTargets>
struct LoRA : detail::LowRank<R, Alpha, T, detail::Scaling::by_rank> {
  static constexpr auto describe() { return LoRA::describe_adapter("lora"); }
};

// LoRA scaled by alpha / sqrt(r), which keeps its size when r grows. arXiv 2312.03732; PEFT: use_rslora.
template <std::int64_t R, std::int64_t Alpha = 2 * R, class T = SixTargets>
struct RsLoRA : detail::LowRank<R, Alpha, T, detail::Scaling::by_root_of_rank> {
  static constexpr auto describe() { return RsLoRA::describe_adapter("rslora"); }
};

// Weight-decomposed LoRA: W' = m (W + (alpha / r) B A) / ||W + (alpha / r) B A||, the norm taken per output row and
// held constant in backward. arXiv 2402.09353; PEFT: use_dora. Without dropout: one product with the base weight
// suffices.
template <std::int64_t R, std::int64_t Alpha = 2 * R, class T = SixTargets>
struct DoRA : detail::LowRank<R, Alpha, T, detail::Scaling::by_rank> {
  static constexpr bool is_dora = true;
  static constexpr auto describe() { return DoRA::describe_adapter("dora"); }
};

// DoRA with dropout > 0, for which PEFT's formula needs a second product with the base weight:
// y = W x + (m / ||.|| - 1) W dropout(x) + (m / ||.||) (alpha / r) B A dropout(x).
template <std::int64_t R, std::int64_t Alpha = 2 * R, class T = SixTargets>
struct DoRAWithDropout : detail::LowRank<R, Alpha, T, detail::Scaling::by_rank> {
  static constexpr bool is_dora = true, dropout_product = true;
  static constexpr auto describe() { return DoRAWithDropout::describe_adapter("dora"); }
};

// The base alone.
struct NoAdapter {
  using slot = slots::adapter;
  static constexpr std::int64_t r = 0, alpha = 0;
  static constexpr bool is_dora = false, dropout_product = false, rank_stabilized = false;
  static constexpr Strings target_modules{};
  static constexpr bool targets(Projection) { return false; }
  static constexpr double scaling() { return 0; }
  static constexpr auto describe() {
    return std::array{Field{"/base_models/0/adapters", target_modules},
                      Field{"/training/config/adapter_type", "none", Presence::if_present}};
  }
};

}  // namespace v0
}  // namespace expert
