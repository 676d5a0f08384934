# SPDX-License-Identifier: Apache-2.0
# ./dev bench builds in build/release, so only that build can be asked whether a second call leaves it alone.
if(TARGET tare AND PROJECT_BINARY_DIR STREQUAL "${PROJECT_SOURCE_DIR}/build/release")
  add_test(NAME second_call COMMAND ${PROJECT_SOURCE_DIR}/tests/integration/second_call.sh)
  set_tests_properties(second_call PROPERTIES LABELS integration RUN_SERIAL TRUE TIMEOUT 300)
endif()
