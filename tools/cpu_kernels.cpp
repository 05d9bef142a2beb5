// All kernels of the CPU, once for all programs of a build (expert/cpu/instances.hpp).
#define EXPERT_CPU_TEMPLATE template
#include "expert/cpu/instances.hpp"
