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

# What judges SQL: the target expert_sql stands for libpg_query (which has no CMake package) and SQLite, where both are
# found. Without them a program that links it still builds, and says at run time which packages it lacks.
function(expert_want_sql)
  add_library(expert_sql INTERFACE)
  find_package(SQLite3 QUIET)
  find_path(EXPERT_PG_QUERY_INCLUDE pg_query.h)
  find_library(EXPERT_PG_QUERY_LIBRARY pg_query)
  if(SQLite3_FOUND AND EXPERT_PG_QUERY_INCLUDE AND EXPERT_PG_QUERY_LIBRARY)
    target_include_directories(expert_sql SYSTEM INTERFACE ${EXPERT_PG_QUERY_INCLUDE})
    target_link_libraries(expert_sql INTERFACE ${EXPERT_PG_QUERY_LIBRARY} SQLite::SQLite3 Threads::Threads)
    target_compile_definitions(expert_sql INTERFACE EXPERT_WITH_SQL)
  else()
    message(STATUS "expert-cli eval is off: it needs libpg_query and SQLite. On Debian or Ubuntu: "
                   "apt-get install libpg-query-dev libsqlite3-dev")
  endif()
endfunction()

# What judges documents by a JSON Schema, the target expert_json_schema, in the same way.
function(expert_want_json_schema)
  add_library(expert_json_schema INTERFACE)
  find_package(valijson QUIET)
  find_package(nlohmann_json 3.11 QUIET)
  if(valijson_FOUND AND nlohmann_json_FOUND)
    target_link_libraries(expert_json_schema INTERFACE valijson nlohmann_json::nlohmann_json)
    target_compile_definitions(expert_json_schema INTERFACE EXPERT_WITH_VALIJSON)
    target_compile_options(expert_json_schema INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)  # valijson's, false
  endif()
endfunction()
