# SPDX-License-Identifier: Apache-2.0
# Start time of a container beside runc and crun, and the launcher's memory: `./dev perf container`; the whole command `tare run` beside
# its peers: `./dev perf run`.
if(TARGET tare_container AND TARGET test-workload)
  add_executable(perf_container ${CMAKE_CURRENT_LIST_DIR}/container_start.cc ${CMAKE_CURRENT_LIST_DIR}/peer.cc)
  tare_compile(perf_container)
  target_compile_definitions(perf_container PRIVATE TARE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(perf_container PRIVATE tare_container)
  add_dependencies(perf_container tare-launcher test-workload)
endif()
if(TARGET tare AND TARGET test-workload)
  add_executable(perf_run ${CMAKE_CURRENT_LIST_DIR}/run_command.cc ${CMAKE_CURRENT_LIST_DIR}/peer.cc)
  tare_compile(perf_run)
  target_compile_definitions(perf_run PRIVATE TARE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(perf_run PRIVATE tare_agent)
  add_dependencies(perf_run tare tare-launcher test-workload)
endif()
