// The bundled base as a training: all weights of an ExpertTiny, in f32. manifest.json beside it must agree with it.
#pragma once
#include "expert/policy/assemble.hpp"

namespace expert {
inline namespace v0 {

using TinyBase = Expert<ExpertTiny, FullFineTune, Muon, Compute<f32>, Packing<512>, Batch<4>>;

}  // namespace v0
}  // namespace expert
