# SPDX-License-Identifier: Apache-2.0
# tare_fakes: a Backend that does what a test tells it to. Never linked into tare itself.
add_library(tare_fakes STATIC ${CMAKE_CURRENT_LIST_DIR}/fake_backend.cc)
tare_compile(tare_fakes)
target_link_libraries(tare_fakes PUBLIC tare_core)
foreach(folder bench agent)
  if(TARGET unit_${folder})
    target_link_libraries(unit_${folder} PRIVATE tare_fakes)
  endif()
endforeach()
