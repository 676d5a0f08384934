# SPDX-License-Identifier: Apache-2.0
# What a user waits for at ./dev bench: `./dev perf bench`.
if(TARGET tare)
  find_package(boost_json 1.81 REQUIRED)
  add_executable(perf_bench ${CMAKE_CURRENT_LIST_DIR}/bench_call.cc)
  tare_compile(perf_bench)
  target_compile_definitions(perf_bench PRIVATE TARE_SOURCE_DIR="${PROJECT_SOURCE_DIR}" TARE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(perf_bench PRIVATE tare_agent Boost::json)
  add_dependencies(perf_bench tare tare-launcher tare-init tare-emulator probe)
endif()
