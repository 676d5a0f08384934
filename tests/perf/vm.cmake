# SPDX-License-Identifier: Apache-2.0
# Start time of a virtual machine beside the same QEMU started by hand: `./dev perf vm`.
if(TARGET tare_vm AND TARGET tare_container AND TARGET test-workload)
  add_executable(perf_vm ${CMAKE_CURRENT_LIST_DIR}/vm_start.cc)
  tare_compile(perf_vm)
  target_compile_definitions(perf_vm PRIVATE TARE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(perf_vm PRIVATE tare_vm tare_container)
  add_dependencies(perf_vm tare-init tare-emulator test-workload)
endif()
