# find_package(expert): from an installed tree (which may be moved) and from this build tree.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/expert)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/expertConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/expertConfig.cmake INSTALL_DESTINATION ${package_dir})
# In 0.x a minor version may break; headers do not depend on the pointer size of who installed them.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/expertConfigVersion.cmake COMPATIBILITY SameMinorVersion
                                 ARCH_INDEPENDENT)
if(EXPERT_INSTALL)
  # expert::gzip is an export of its own: who does not ask for the component needs no zlib.
  set(exports expertTargets)
  install(TARGETS expert EXPORT expertTargets FILE_SET HEADERS COMPONENT expert_development
          FILE_SET fragments COMPONENT expert_development)
  if(TARGET expert_gzip)
    list(APPEND exports expertGzipTargets)
    install(TARGETS expert_gzip EXPORT expertGzipTargets FILE_SET HEADERS COMPONENT expert_development)
  endif()
  foreach(export IN LISTS exports)
    install(EXPORT ${export} NAMESPACE expert:: DESTINATION ${package_dir} COMPONENT expert_development)
    export(EXPORT ${export} NAMESPACE expert:: FILE ${PROJECT_BINARY_DIR}/${export}.cmake)
  endforeach()
  file(COPY ${CMAKE_CURRENT_LIST_DIR}/expert_add_expert.cmake DESTINATION ${PROJECT_BINARY_DIR})
  install(FILES ${PROJECT_BINARY_DIR}/expertConfig.cmake ${PROJECT_BINARY_DIR}/expertConfigVersion.cmake
                ${CMAKE_CURRENT_LIST_DIR}/expert_add_expert.cmake
          DESTINATION ${package_dir} COMPONENT expert_development)
endif()
