# SPDX-License-Identifier: Apache-2.0
# How every target of tare is compiled, and the one way to add a library, a helper program or a test.

set(TARE_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
    -Wimplicit-fallthrough -Werror
    -Wno-restrict)  # g++ 12 warns of std::string concatenation where there is nothing to warn of (GCC bug 105329)

set(TARE_SANITIZE_FLAGS)
if(TARE_SANITIZE STREQUAL "address")
  set(TARE_SANITIZE_FLAGS -fsanitize=address,undefined -fno-omit-frame-pointer)
elseif(TARE_SANITIZE STREQUAL "thread")
  set(TARE_SANITIZE_FLAGS -fsanitize=thread -fno-omit-frame-pointer)
endif()

function(tare_compile target)
  target_compile_options(${target} PRIVATE ${TARE_WARNINGS} ${TARE_SANITIZE_FLAGS})
  target_link_options(${target} PRIVATE ${TARE_SANITIZE_FLAGS})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
endfunction()

# tare_library(container SOURCES a.cc b.cc LINKS tare_core PRIVATE_LINKS PkgConfig::cgroup): one static library a folder. What is
# behind PRIVATE_LINKS stays private to the folder: its headers reach no one who links the library.
function(tare_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(tare_${name} STATIC ${ARG_SOURCES})
  tare_compile(tare_${name})
  target_link_libraries(tare_${name} PUBLIC ${ARG_LINKS} PRIVATE ${ARG_PRIVATE_LINKS})
endfunction()

# tare_static_program(tare-init SOURCES init.cc): a statically linked helper in libexec/tare, never sanitised: it runs as PID 1 of a guest,
# between clone and execve, or inside an image without libraries.
function(tare_static_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE ${TARE_WARNINGS})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_options(${name} PRIVATE -static)
  target_link_libraries(${name} PRIVATE ${ARG_LINKS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${TARE_LIBEXEC})
endfunction()

# What `cmake --install` copies, in the places where an installed tare looks: programs in bin, their helpers in libexec/tare, suites and the
# commented configuration in share/tare. It builds nothing, and needs no test to be built.
function(tare_install)
  if(NOT TARGET tare)
    return()
  endif()
  install(TARGETS tare tare-agent DESTINATION bin)
  install(TARGETS probe tare-emulator tare-guard tare-init tare-launcher tare-share DESTINATION libexec/tare)
  install(PROGRAMS guest/fetch-kernel.sh DESTINATION libexec/tare)
  install(DIRECTORY configs/suites DESTINATION share/tare)
  install(FILES configs/agent.yaml DESTINATION share/tare)
  install(FILES LICENSE README.md DESTINATION share/doc/tare)
endfunction()
