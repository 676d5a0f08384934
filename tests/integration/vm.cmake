# SPDX-License-Identifier: Apache-2.0
# Real virtual machines through libvirt. Emulated ones take about two seconds each to boot.
if(TARGET tare_vm AND TARGET tare_container)
  add_executable(vm-test-program ${CMAKE_CURRENT_LIST_DIR}/vm_test_program.cc)
  target_compile_options(vm-test-program PRIVATE ${TARE_WARNINGS})
  target_link_options(vm-test-program PRIVATE -static)
  tare_test(integration_vm SOURCES integration/vm_test.cc LINKS tare_vm tare_container LABELS integration TIMEOUT 180)
  add_dependencies(integration_vm vm-test-program tare-init tare-emulator)
  tare_test(integration_vm_system SOURCES integration/vm_system.cc LINKS tare_vm tare_container tare_test_support LABELS integration TIMEOUT 180)
  add_dependencies(integration_vm_system vm-test-program tare-init tare-emulator)
endif()
