# Our own programs: tests, tools, benchmarks. A project that includes this one does not come here.
include(cmake/dependencies.cmake)
include(cmake/expert_add_expert.cmake)
option(EXPERT_WERROR "Warnings are errors, as the presets for work on the library have it" OFF)
option(EXPERT_UNITY "Compile the sources of a target together: less work in all, more after a change" OFF)
option(EXPERT_VERIFY_HEADERS "Compile the public headers so that each must stand alone" OFF)
option(EXPERT_TEST_FAULTS "Test what happens to processes that are killed and whose system calls fail" ON)
set(EXPERT_BENCH_FLAGS "" CACHE STRING "Further flags for programs that no test runs: -O0 where it is enough that they build")
separate_arguments(EXPERT_BENCH_FLAGS)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(expert_warnings INTERFACE)
target_compile_options(
  expert_warnings INTERFACE -Wall -Wextra -Wconversion $<$<BOOL:${EXPERT_WERROR}>:-Werror>
                            $<$<CXX_COMPILER_ID:GNU>:-fconcepts-diagnostics-depth=2>)

# Our own programs take the kernels from here; one example compiles its own, as users do.
add_library(expert_cpu_kernels STATIC tools/cpu_kernels.cpp)
target_link_libraries(expert_cpu_kernels PUBLIC expert PRIVATE expert_warnings)
target_compile_definitions(expert_cpu_kernels INTERFACE EXPERT_COMPILED_KERNELS)

if(EXPERT_BUILD_TESTS)
  enable_testing()
endif()
if(EXPERT_BUILD_TOOLS AND EXISTS ${PROJECT_SOURCE_DIR}/tools/CMakeLists.txt)
  add_subdirectory(tools)
  add_subdirectory(experts)
endif()
if(EXPERT_BUILD_TESTS)  # some use expert-cli
  add_subdirectory(tests)
  add_subdirectory(examples)
endif()
if(EXPERT_BUILD_BENCH AND EXISTS ${PROJECT_SOURCE_DIR}/bench/CMakeLists.txt)
  add_subdirectory(bench)
endif()
