# SPDX-License-Identifier: Apache-2.0
# The agent as a process: its API, its store and the command line, with backends that need no kernel feature.
if(TARGET tare_agent)
  add_executable(tare-fake ${CMAKE_CURRENT_LIST_DIR}/agent_fake.cc)
  tare_compile(tare-fake)
  target_link_libraries(tare-fake PRIVATE tare_agent)
  tare_test(integration_agent
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/agent_api.cc ${CMAKE_CURRENT_LIST_DIR}/agent_bench.cc ${CMAKE_CURRENT_LIST_DIR}/agent_crash.cc
    LINKS tare_agent LABELS integration TIMEOUT 120)
  target_compile_definitions(integration_agent PRIVATE TARE_FAKE="$<TARGET_FILE:tare-fake>")
  add_dependencies(integration_agent tare-fake)
endif()
