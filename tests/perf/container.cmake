# SPDX-License-Identifier: Apache-2.0
# Start time of a container beside runc and crun, and the launcher's memory: `./dev perf container`.
if(TARGET tare_container AND TARGET test-workload)
  add_executable(perf_container ${CMAKE_CURRENT_LIST_DIR}/container_start.cc)
  tare_compile(perf_container)
  target_compile_definitions(perf_container PRIVATE TARE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(perf_container PRIVATE tare_container)
  add_dependencies(perf_container tare-launcher test-workload)
endif()
