# SPDX-License-Identifier: Apache-2.0
add_library(tare_test_support STATIC support/census.cc)
tare_compile(tare_test_support)
target_compile_definitions(tare_test_support PRIVATE TARE_BINARY_DIR="${PROJECT_BINARY_DIR}")
target_link_libraries(tare_test_support PUBLIC tare_core)
