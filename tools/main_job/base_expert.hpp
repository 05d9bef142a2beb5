// The base of the main job: all weights of an ExpertTiny, trained in f32. base_manifest.json must agree with it.
#pragma once
#include "expert/policy/assemble.hpp"

namespace expert {
inline namespace v0 {

using TinySqlBase = Expert<ExpertTiny, FullFineTune, Compute<f32>, Packing<512>, Batch<4>>;

}  // namespace v0
}  // namespace expert
