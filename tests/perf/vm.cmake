# SPDX-License-Identifier: Apache-2.0
function(tare_vm_perf name source)
  add_executable(${name} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${source})
  tare_compile(${name})
  target_compile_definitions(${name} PRIVATE TARE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(${name} PRIVATE tare_vm tare_container ${ARGN})
  add_dependencies(${name} tare-init tare-emulator test-workload)
endfunction()

if(TARGET tare_vm AND TARGET tare_container AND TARGET test-workload)
  # Start time of a virtual machine beside the same QEMU started by hand: `./dev perf vm`.
  tare_vm_perf(perf_vm vm_start.cc tare_test_qemu)
  # Guests that do not boot: `./dev perf vm.restored vm.parked`.
  tare_vm_perf(perf_vm_clones vm_clones.cc)
  # What a guest costs while it idles, and how long it takes to go: `./dev perf vm.memory vm.stop`.
  tare_vm_perf(perf_vm_running vm_running.cc)
endif()
