# SPDX-License-Identifier: Apache-2.0
if(TARGET tare_backends)
  tare_test(cgroup_layouts SOURCES integration/cgroup_layouts.cc LINKS tare_backends LABELS integration TIMEOUT 600)
  add_dependencies(cgroup_layouts integration_container tare-launcher tare-init tare-emulator probe)
endif()
