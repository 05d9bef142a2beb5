// Version and the only macros of the library.
#pragma once

#define EXPERT_VERSION_MAJOR 0
#define EXPERT_VERSION_MINOR 1
#define EXPERT_VERSION_PATCH 0

#if defined(__CUDACC__)
#define EXPERT_HOST_DEVICE __host__ __device__
#else
#define EXPERT_HOST_DEVICE
#endif

namespace expert {
inline namespace v0 {
inline constexpr int version_major = EXPERT_VERSION_MAJOR;
inline constexpr int version_minor = EXPERT_VERSION_MINOR;
inline constexpr int version_patch = EXPERT_VERSION_PATCH;
}  // namespace v0
}  // namespace expert
