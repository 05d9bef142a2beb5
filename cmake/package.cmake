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
  install(TARGETS expert EXPORT expertTargets FILE_SET HEADERS COMPONENT expert_development)
  install(EXPORT expertTargets NAMESPACE expert:: DESTINATION ${package_dir} COMPONENT expert_development)
  install(FILES ${PROJECT_BINARY_DIR}/expertConfig.cmake ${PROJECT_BINARY_DIR}/expertConfigVersion.cmake
          DESTINATION ${package_dir} COMPONENT expert_development)
  export(EXPORT expertTargets NAMESPACE expert:: FILE ${PROJECT_BINARY_DIR}/expertTargets.cmake)
endif()
