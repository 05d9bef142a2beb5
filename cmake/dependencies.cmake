# What only our own programs need. Nothing is downloaded or vendored; what is missing is named with its Debian package.

# expert_require(PACKAGE [components...] DEBIAN name FOR purpose): find_package, or an error that says what to install.
function(expert_require package)
  cmake_parse_arguments(arg "" "DEBIAN;FOR" "" ${ARGN})
  find_package(${package} QUIET ${arg_UNPARSED_ARGUMENTS} GLOBAL)
  if(NOT ${package}_FOUND)
    expert_missing(${package} ${arg_DEBIAN} ${arg_FOR})
  endif()
endfunction()

function(expert_missing what debian purpose)
  message(FATAL_ERROR "${what} was not found, and the ${purpose} need it. On Debian or Ubuntu: "
                      "apt-get install ${debian} (or run ./check.sh, which installs all that is missing).")
endfunction()

# Catch2: version 3 where CMake finds it, else Debian's version 2; tests/catch.hpp hides the difference.
function(expert_require_catch)
  find_package(Catch2 3 QUIET GLOBAL)
  if(Catch2_FOUND)
    add_library(expert_catch INTERFACE)
    target_link_libraries(expert_catch INTERFACE Catch2::Catch2WithMain)
    return()
  endif()
  find_path(EXPERT_CATCH2_INCLUDE catch2/catch.hpp)
  if(NOT EXPERT_CATCH2_INCLUDE)
    expert_missing(Catch2 catch2 tests)
  endif()
  add_library(expert_catch STATIC ${PROJECT_SOURCE_DIR}/tests/catch_main.cpp)
  target_include_directories(expert_catch SYSTEM PUBLIC ${EXPERT_CATCH2_INCLUDE})
  target_compile_features(expert_catch PUBLIC cxx_std_20)
endfunction()

# libpg_query has no CMake package: the target expert_pg_query stands for header and library.
function(expert_require_pg_query purpose)
  if(TARGET expert_pg_query)
    return()
  endif()
  find_path(EXPERT_PG_QUERY_INCLUDE pg_query.h)
  find_library(EXPERT_PG_QUERY_LIBRARY pg_query)
  if(NOT EXPERT_PG_QUERY_INCLUDE OR NOT EXPERT_PG_QUERY_LIBRARY)
    expert_missing(libpg_query libpg-query-dev ${purpose})
  endif()
  add_library(expert_pg_query INTERFACE IMPORTED GLOBAL)
  target_include_directories(expert_pg_query INTERFACE ${EXPERT_PG_QUERY_INCLUDE})
  target_link_libraries(expert_pg_query INTERFACE ${EXPERT_PG_QUERY_LIBRARY} Threads::Threads)
endfunction()
