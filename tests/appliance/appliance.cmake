# SPDX-License-Identifier: Apache-2.0
# Jobs in the appliance: an emulated machine with KVM and control groups v2, whatever this host has. Only from the release build, which ./dev
# test runs: another would spend minutes on the same.
if(TARGET tare AND PROJECT_BINARY_DIR STREQUAL "${PROJECT_SOURCE_DIR}/build/release")
  foreach(job container vm)
    add_test(NAME appliance.${job}
      COMMAND ${PROJECT_SOURCE_DIR}/tests/appliance/run "${PROJECT_SOURCE_DIR}/tests/appliance/${job} ${PROJECT_BINARY_DIR}" 15)
    set_tests_properties(appliance.${job} PROPERTIES LABELS appliance RUN_SERIAL TRUE TIMEOUT 960)
  endforeach()
  # The real disk, booted once; by UEFI with `tests/appliance/disk --uefi`.
  add_test(NAME appliance.disk COMMAND ${PROJECT_SOURCE_DIR}/tests/appliance/disk)
  set_tests_properties(appliance.disk PROPERTIES LABELS appliance RUN_SERIAL TRUE TIMEOUT 600)
endif()
