// What this program was built from and with; build_info.cpp is written by CMake (tools/build_info.cmake).
#pragma once

namespace cli {

struct BuildInfo {
  const char *git, *compiler, *flags, *build_type;  // git: a hash, "-dirty" where files had changed, or "unknown"
};
const BuildInfo& build_info();

}  // namespace cli
