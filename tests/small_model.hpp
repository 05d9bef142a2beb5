// The model of tests/parity/data/model. One type for all tests that train or run it, so that what they instantiate for
// it is compiled once where they are compiled together.
#pragma once
#include "expert/policy/model.hpp"

namespace expert::tests {

struct SmallModel : HfDecoder<64, 2, 4, 2, 32, 128, 512, true, 128> {};

}  // namespace expert::tests
