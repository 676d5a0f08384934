# SPDX-License-Identifier: Apache-2.0
# What a killed agent leaves on the host, with the real backends: needs root.
if(TARGET tare)
  tare_test(integration_agent_recovery SOURCES ${CMAKE_CURRENT_LIST_DIR}/agent_recovery.cc LINKS tare_agent tare_test_support LABELS integration
            TIMEOUT 180)
  add_dependencies(integration_agent_recovery tare tare-launcher tare-init tare-emulator probe)
endif()
