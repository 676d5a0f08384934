# SPDX-License-Identifier: Apache-2.0
# One run of some minutes that all its tests read: so it is one test of ctest.
if(TARGET tare)
  find_package(boost_json 1.81 REQUIRED)
  add_executable(quickstart integration/quickstart.cc)
  tare_compile(quickstart)
  target_compile_definitions(quickstart PRIVATE TARE_SOURCE_DIR="${PROJECT_SOURCE_DIR}" TARE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(quickstart PRIVATE tare_bench tare_test_support Boost::json GTest::gmock GTest::gtest GTest::gtest_main)
  add_dependencies(quickstart tare tare-launcher tare-init tare-emulator probe)
  add_test(NAME quickstart COMMAND quickstart)
  set_tests_properties(quickstart PROPERTIES LABELS integration RUN_SERIAL TRUE TIMEOUT 900)
endif()
