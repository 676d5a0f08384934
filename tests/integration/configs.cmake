# SPDX-License-Identifier: Apache-2.0
# The files that tare ships as examples are read by the code that reads users' files.
if(TARGET tare_bench)
  tare_test(configs_suites SOURCES ${CMAKE_CURRENT_LIST_DIR}/configs_suites.cc LINKS tare_bench LABELS unit)
endif()
if(TARGET tare_agent)
  tare_test(configs_agent SOURCES ${CMAKE_CURRENT_LIST_DIR}/configs_agent.cc LINKS tare_agent LABELS unit)
endif()
