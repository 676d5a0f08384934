# SPDX-License-Identifier: Apache-2.0
# Instances that clients start, with the real backends: needs root.
if(TARGET tare)
  tare_test(integration_instances SOURCES ${CMAKE_CURRENT_LIST_DIR}/instances_run.cc
    ${CMAKE_CURRENT_LIST_DIR}/instances_streams.cc ${CMAKE_CURRENT_LIST_DIR}/instances_streams_vm.cc
    ${CMAKE_CURRENT_LIST_DIR}/instances_survive.cc ${CMAKE_CURRENT_LIST_DIR}/instances_survive_vm.cc ${CMAKE_CURRENT_LIST_DIR}/instances_parked.cc
    LINKS tare_agent tare_test_support LABELS integration TIMEOUT 300)
  add_dependencies(integration_instances tare tare-launcher tare-init tare-emulator probe)
endif()
