# Run at each build: writes OUTPUT where what it says has changed. A checkout has its hash, anything else "unknown".
cmake_minimum_required(VERSION 3.25)
set(git unknown)
execute_process(COMMAND git -C ${SOURCE_DIR} rev-parse --show-toplevel OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE
                ERROR_QUIET)
if(top STREQUAL SOURCE_DIR)
  execute_process(COMMAND git -C ${SOURCE_DIR} describe --always --dirty --abbrev=40 --exclude=* OUTPUT_VARIABLE git
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT
"#include \"cli/build_info.hpp\"

const cli::BuildInfo& cli::build_info() {
  static constexpr BuildInfo info{R\"(${git})\", R\"(${COMPILER})\", R\"(${FLAGS})\", R\"(${BUILD_TYPE})\"};
  return info;
}
")
