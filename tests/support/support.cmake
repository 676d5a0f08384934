# SPDX-License-Identifier: Apache-2.0
add_library(tare_test_support STATIC support/census.cc)
tare_compile(tare_test_support)
target_compile_definitions(tare_test_support PRIVATE TARE_BINARY_DIR="${PROJECT_BINARY_DIR}")
target_link_libraries(tare_test_support PUBLIC tare_core)

if(TARGET tare_vm)
  add_library(tare_test_qemu STATIC support/qemu_by_hand.cc)
  tare_compile(tare_test_qemu)
  target_link_libraries(tare_test_qemu PUBLIC tare_vm)
endif()
