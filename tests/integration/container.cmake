# SPDX-License-Identifier: Apache-2.0
# metal and container with the real kernel: needs root.
if(TARGET tare_container)
  tare_static_program(test-workload SOURCES ${CMAKE_CURRENT_LIST_DIR}/container_workload.cc)
  tare_test(integration_container
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/container_native.cc ${CMAKE_CURRENT_LIST_DIR}/container_launcher.cc ${CMAKE_CURRENT_LIST_DIR}/container_security.cc
            ${CMAKE_CURRENT_LIST_DIR}/container_cgroup.cc ${CMAKE_CURRENT_LIST_DIR}/container_census.cc
            ${CMAKE_CURRENT_LIST_DIR}/container_rootfs.cc ${CMAKE_CURRENT_LIST_DIR}/container_mounts.cc ${CMAKE_CURRENT_LIST_DIR}/container_namespaces.cc
            ${CMAKE_CURRENT_LIST_DIR}/container_limits.cc
            ${CMAKE_CURRENT_LIST_DIR}/container_parked.cc ${CMAKE_CURRENT_LIST_DIR}/container_runc.cc ${CMAKE_CURRENT_LIST_DIR}/container_streams.cc
            ${CMAKE_CURRENT_LIST_DIR}/container_userns.cc ${CMAKE_CURRENT_LIST_DIR}/container_layers.cc
    LINKS tare_container
    LABELS integration TIMEOUT 120)
  add_dependencies(integration_container tare-launcher test-workload)
endif()
