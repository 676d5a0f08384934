# SPDX-License-Identifier: Apache-2.0
# The bridge with the real kernel, in a network namespace of the test's own: needs root.
tare_test(integration_bridge SOURCES integration/bridge.cc LINKS tare_core LABELS integration)
if(TARGET tare_vm AND TARGET tare_container)
  tare_test(integration_bridge_vm SOURCES integration/bridge_vm.cc LINKS tare_vm tare_container LABELS integration TIMEOUT 180)
  add_dependencies(integration_bridge_vm test-workload tare-launcher tare-init tare-emulator)
endif()
