# SPDX-License-Identifier: Apache-2.0
# Target ostria::dnnl: oneDNN 3.x on GNU OpenMP, headers and library. Default: the pinned wheels that
# onednn.py puts into .cache/onednn; -DOSTRIA_DNNL_ROOT=<prefix> takes a newer 3.x instead.
# ostria_stage_dnnl(FOLDER) puts its one stripped copy beside the libraries that need it.
set(OSTRIA_DNNL_ROOT "" CACHE PATH "Prefix of a oneDNN 3.x to use; empty: the pinned one")
set(ostria_dnnl_root ${OSTRIA_DNNL_ROOT})
if(NOT ostria_dnnl_root)
  execute_process(COMMAND ${Python_EXECUTABLE} ${CMAKE_SOURCE_DIR}/cmake/onednn.py
                          ${CMAKE_SOURCE_DIR}/.cache/onednn
                  OUTPUT_VARIABLE ostria_dnnl_root OUTPUT_STRIP_TRAILING_WHITESPACE
                  COMMAND_ERROR_IS_FATAL ANY)
endif()
unset(dnnl_DIR CACHE)
find_package(dnnl 3 CONFIG REQUIRED PATHS ${ostria_dnnl_root} NO_DEFAULT_PATH)
if(NOT DNNL_CPU_THREADING_RUNTIME STREQUAL "OMP")
  message(FATAL_ERROR "oneDNN in ${ostria_dnnl_root} runs on ${DNNL_CPU_THREADING_RUNTIME}; Ostria "
                      "needs one built with DNNL_CPU_RUNTIME=OMP: two thread runtimes in one process "
                      "slow each other down by two orders of magnitude")
endif()
add_library(ostria_dnnl INTERFACE)
add_library(ostria::dnnl ALIAS ostria_dnnl)
target_link_libraries(ostria_dnnl INTERFACE DNNL::dnnl)
# Not our code: no warnings from its headers.
get_target_property(ostria_dnnl_include DNNL::dnnl INTERFACE_INCLUDE_DIRECTORIES)
target_include_directories(ostria_dnnl SYSTEM INTERFACE ${ostria_dnnl_include})
message(STATUS "oneDNN ${dnnl_VERSION} in ${ostria_dnnl_root}")

function(ostria_stage_dnnl folder)
  set(copy ${folder}/libdnnl.so.3)
  add_custom_command(
    OUTPUT ${copy}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}
    COMMAND ${CMAKE_STRIP} --strip-unneeded -o ${copy} $<TARGET_FILE:DNNL::dnnl>
    DEPENDS $<TARGET_FILE:DNNL::dnnl>
    COMMENT "Stripping oneDNN into ${folder}" VERBATIM)
  add_custom_target(ostria_dnnl_copy DEPENDS ${copy})
  set(OSTRIA_DNNL_COPY ${copy} PARENT_SCOPE)
  set(OSTRIA_DNNL_LICENSES ${ostria_dnnl_root}/share/doc/onednn PARENT_SCOPE)
endfunction()
