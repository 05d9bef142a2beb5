// Everything for the CPU, std only: the policies, and one header per stage in the order of the flow.
//   manifest -> check -> weights -> tokens -> forward -> loss -> backward -> optimizer -> adapter file -> generate
#pragma once
// clang-format off
#include "expert/policy/assemble.hpp"
#include "expert/manifest.hpp"
#include "expert/registry.hpp"
#include "expert/weights.hpp"
#include "expert/tokens.hpp"
#include "expert/forward.hpp"
#include "expert/loss.hpp"
#include "expert/backward.hpp"
#include "expert/optimizer.hpp"
#include "expert/trainer.hpp"
#include "expert/adapter_file.hpp"
#include "expert/checkpoint.hpp"
#include "expert/training_run.hpp"
#include "expert/generate.hpp"
#include "expert/kv_cache_file.hpp"
// clang-format on
