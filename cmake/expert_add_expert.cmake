# expert_add_expert(TARGET MANIFEST): a manifest -> an INTERFACE library whose one header, TARGET.hpp, is the C++ type that
# the manifest asks for. It is written again where the manifest changes; a manifest that is not sound stops the build.
# Needs the program expert-cli: find_package(expert COMPONENTS cli), or EXPERT_BUILD_TOOLS=ON where expert is a folder of
# the project.
function(expert_add_expert target manifest)
  if(TARGET expert-cli)
    set(cli expert-cli)
  elseif(TARGET expert::expert-cli)
    set(cli expert::expert-cli)
  else()
    message(FATAL_ERROR "expert_add_expert(${target}) needs expert-cli: find_package(expert COMPONENTS cli), or "
                        "EXPERT_BUILD_TOOLS=ON with add_subdirectory.")
  endif()
  cmake_path(ABSOLUTE_PATH manifest)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/expert_types)
  set(header ${folder}/${target}.hpp)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(OUTPUT ${header} COMMAND ${cli} scaffold ${manifest} --output ${header}
                     DEPENDS ${manifest} ${cli} COMMENT "Writing the type of ${manifest}" VERBATIM)
  add_custom_target(${target}_header DEPENDS ${header})
  add_library(${target} INTERFACE)
  add_dependencies(${target} ${target}_header)
  target_include_directories(${target} INTERFACE ${folder})
  target_link_libraries(${target} INTERFACE expert::expert)
endfunction()
