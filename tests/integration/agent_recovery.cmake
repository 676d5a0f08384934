# SPDX-License-Identifier: Apache-2.0
# The agent with the real backends: what a killed one leaves on the host, and what doctor finds on it. Needs root.
if(TARGET tare)
  tare_test(integration_agent_recovery SOURCES ${CMAKE_CURRENT_LIST_DIR}/agent_recovery.cc
    ${CMAKE_CURRENT_LIST_DIR}/agent_first_look.cc ${CMAKE_CURRENT_LIST_DIR}/agent_doctor.cc
    LINKS tare_agent tare_test_support LABELS integration TIMEOUT 180)
  add_dependencies(integration_agent_recovery tare tare-launcher tare-init tare-emulator probe)
endif()
