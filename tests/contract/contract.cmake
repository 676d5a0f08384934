# SPDX-License-Identifier: Apache-2.0
if(TARGET tare_backends)
  # One process for all of a backend's tests: libvirt opens once and the launcher starts once.
  add_executable(contract contract/backend_contract.cc contract/backend_contract_streams.cc contract/backend_contract_surroundings.cc)
  tare_compile(contract)
  target_link_libraries(contract PRIVATE tare_backends tare_test_support GTest::gmock GTest::gtest GTest::gtest_main)
  add_dependencies(contract tare-launcher tare-init tare-emulator probe)
  foreach(lane Parked Mapped)
    string(TOLOWER ${lane} name)
    add_test(NAME contract.${name} COMMAND contract --gtest_filter=${lane}/*)
    set_tests_properties(contract.${name} PROPERTIES LABELS contract RUN_SERIAL TRUE TIMEOUT 600
      FAIL_REGULAR_EXPRESSION "Running 0 tests")
  endforeach()
  foreach(backend metal container vm)
    add_test(NAME contract.${backend} COMMAND contract --gtest_filter=Real/*/${backend})
    set_tests_properties(contract.${backend} PROPERTIES LABELS contract RUN_SERIAL TRUE TIMEOUT 600
      FAIL_REGULAR_EXPRESSION "Running 0 tests")  # a filter that matches nothing passes
  endforeach()
endif()
