# WAY, EXPERT_SOURCE, EXPERT_BUILD, WORK, GENERATOR, COMPILER -> the consumer, configured, built and run; or an error.
function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE ${WORK})
file(COPY ${CMAKE_CURRENT_LIST_DIR}/consumer DESTINATION ${WORK})
set(arguments -DEXPERT_WAY=${WAY})
if(WAY STREQUAL "build_tree")
  list(APPEND arguments -Dexpert_DIR=${EXPERT_BUILD})
elseif(WAY MATCHES "install")  # an installed tree that was moved afterwards: no absolute path may be left in it
  run(${CMAKE_COMMAND} --install ${EXPERT_BUILD} --component expert_development --prefix ${WORK}/before)
  file(RENAME ${WORK}/before ${WORK}/prefix)
  list(APPEND arguments -DCMAKE_PREFIX_PATH=${WORK}/prefix)
endif()
if(NOT WAY MATCHES "^(install|build_tree)$")
  list(APPEND arguments -DEXPERT_SOURCE=${EXPERT_SOURCE})
endif()

run(${CMAKE_COMMAND} -S ${WORK}/consumer -B ${WORK}/build -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER}
    -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF ${arguments})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/consumer)
run(${WORK}/build/consumer_gzip ${WORK}/no_such_file)
