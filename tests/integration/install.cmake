# SPDX-License-Identifier: Apache-2.0
# The programs of a sanitizer's build need more than what is installed.
if(TARGET tare AND NOT TARE_SANITIZE)
  add_test(NAME install COMMAND ${PROJECT_SOURCE_DIR}/tests/integration/install.sh ${PROJECT_BINARY_DIR})
  set_tests_properties(install PROPERTIES LABELS integration RUN_SERIAL TRUE TIMEOUT 120)
endif()
