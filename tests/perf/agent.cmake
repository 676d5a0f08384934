# SPDX-License-Identifier: Apache-2.0
# What the agent costs while it waits: `./dev perf agent`.
if(TARGET tare)
  add_executable(perf_agent ${CMAKE_CURRENT_LIST_DIR}/agent_cost.cc)
  tare_compile(perf_agent)
  target_compile_definitions(perf_agent PRIVATE TARE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(perf_agent PRIVATE tare_agent)
  add_dependencies(perf_agent tare tare-launcher tare-init tare-emulator probe)
endif()
