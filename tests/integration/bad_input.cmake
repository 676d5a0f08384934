# SPDX-License-Identifier: Apache-2.0
if(TARGET tare)
  tare_test(bad_input SOURCES integration/bad_input.cc LINKS tare_core tare_test_support LABELS integration TIMEOUT 180)
  add_dependencies(bad_input tare tare-launcher tare-init tare-emulator probe)
endif()
