# SPDX-License-Identifier: Apache-2.0
# The dashboards: rules that need only files, and every query against a real Prometheus that reads a real agent.
# By name, and looked up when a test runs: a build alone does not need what only tests call.
set(TARE_PYTHON /usr/bin/python3)
set(checks ${CMAKE_CURRENT_LIST_DIR}/dashboards)

add_test(NAME dashboards_rules COMMAND ${TARE_PYTHON} -B ${checks}/rules.py --source ${PROJECT_SOURCE_DIR} --promtool promtool)
set_tests_properties(dashboards_rules PROPERTIES LABELS unit TIMEOUT 60)
# The rules find seeded faults: a check that cannot fail proves nothing.
add_test(NAME dashboards_rules_find_faults
  COMMAND ${TARE_PYTHON} -B ${checks}/rules_test.py --source ${PROJECT_SOURCE_DIR} --promtool promtool)
set_tests_properties(dashboards_rules_find_faults PROPERTIES LABELS unit TIMEOUT 60)

if(TARGET tare)
  add_test(NAME dashboards_data COMMAND ${TARE_PYTHON} -B ${checks}/data.py --source ${PROJECT_SOURCE_DIR}
    --tare $<TARGET_FILE:tare> --prometheus prometheus --promtool promtool)
  set_tests_properties(dashboards_data PROPERTIES LABELS integration TIMEOUT 600 RUN_SERIAL TRUE SKIP_RETURN_CODE 77)
endif()
