# SPDX-License-Identifier: Apache-2.0
# The program of the built-in image, as it is built: statically linked, run on this host.
if(TARGET probe)
  tare_test(image_probe SOURCES ${CMAKE_CURRENT_LIST_DIR}/image_probe.cc LINKS tare_core LABELS integration TIMEOUT 60)
  target_compile_definitions(image_probe PRIVATE TARE_PROBE="$<TARGET_FILE:probe>")
  add_dependencies(image_probe probe)

  add_test(NAME image_fetch_benchmark COMMAND ${CMAKE_CURRENT_LIST_DIR}/image_fetch_benchmark.sh ${PROJECT_SOURCE_DIR}/image/fetch-benchmark.sh)
  set_tests_properties(image_fetch_benchmark PROPERTIES LABELS integration TIMEOUT 60)
endif()
