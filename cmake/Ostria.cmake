# SPDX-License-Identifier: Apache-2.0
# How the project's own targets are made.
#   ostria_room(NAME [SOURCES])            object library of one folder; without SOURCES, every .cpp in it
#   ostria_isa_sources(NAME ISA FILES...)  FILES of that room are compiled for avx2 or avx512
#   ostria_op(FAMILY/NAME)                 one op: csrc/ops/FAMILY/NAME.cpp defines `const OpDef kName`
#   ostria_ops_room()                      ends the list of ops: room `ops` with the generated manifest
#   ostria_test(FOLDER [ENVIRONMENT A=B ... [FIXTURE NAME]])
#                            one GoogleTest binary of every *_test.cpp in tests/unit/FOLDER; a test
#                            that requires the fixture runs behind all of its tests

define_property(GLOBAL PROPERTY OSTRIA_ROOMS BRIEF_DOCS "Object libraries that make up libostria")
define_property(GLOBAL PROPERTY OSTRIA_OPS BRIEF_DOCS "family/name of every op")

function(ostria_room name)
  set(sources ${ARGN})
  if(NOT sources)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  endif()
  add_library(ostria_${name} OBJECT ${sources})
  target_include_directories(ostria_${name} PUBLIC ${CMAKE_SOURCE_DIR}/csrc ${CMAKE_SOURCE_DIR}
                                                   ${CMAKE_BINARY_DIR}/generated)
  set_property(GLOBAL APPEND PROPERTY OSTRIA_ROOMS ostria_${name})
endfunction()

# Everything else is compiled for plain x86-64, so such a file must be reached only after a check of
# the CPU. It must not instantiate templates or inline functions that other files use too: the linker
# keeps one copy, maybe this one. Keep its code in a namespace or a type of that instruction set.
# A test holds it to that (isa_symbols.py). a*b+c is never fused behind the author's back; ask for it with the fma functions.
function(ostria_isa_sources room isa)
  if(isa STREQUAL "avx2")
    set(flags -mavx2 -mfma -mf16c)
  elseif(isa STREQUAL "avx512")
    set(flags -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c)
  else()
    message(FATAL_ERROR "ostria_isa_sources(${room} ${isa}): the instruction set is avx2 or avx512")
  endif()
  list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ REGEX "^[^/]")
  if(NOT ARGN)
    message(FATAL_ERROR "ostria_isa_sources(${room} ${isa}): no files given")
  endif()
  set_source_files_properties(${ARGN} TARGET_DIRECTORY ostria_${room}
                              PROPERTIES COMPILE_OPTIONS "${flags};-ffp-contract=off")
  list(TRANSFORM ARGN REPLACE "^.*(/[^/]+)$" "\\1.o")
  string(REPLACE ";" "," suffixes "${ARGN}")
  if(OSTRIA_BUILD_TESTS AND NOT OSTRIA_SANITIZE)
    add_test(NAME isa_symbols_${room}_${isa} COMMAND_EXPAND_LISTS
             COMMAND ${Python_EXECUTABLE} ${CMAKE_SOURCE_DIR}/cmake/isa_symbols.py ${isa} ${suffixes}
                     $<TARGET_OBJECTS:ostria_${room}>)
  endif()
endfunction()

function(ostria_op op)
  if(NOT op MATCHES "^[a-z0-9_]+/[a-z][a-z0-9_]*$")
    message(FATAL_ERROR "ostria_op(${op}): write family/name in lower case, as in nn/softmax")
  endif()
  get_property(ops GLOBAL PROPERTY OSTRIA_OPS)
  get_filename_component(name ${op} NAME)
  foreach(other ${ops})
    if(other MATCHES "/${name}$")
      message(FATAL_ERROR "ostria_op(${op}): the name is taken by ${other}")
    endif()
  endforeach()
  if(NOT EXISTS ${CMAKE_SOURCE_DIR}/csrc/ops/${op}.cpp)
    message(FATAL_ERROR "ostria_op(${op}): there is no csrc/ops/${op}.cpp")
  endif()
  set_property(GLOBAL APPEND PROPERTY OSTRIA_OPS ${op})
endfunction()

function(ostria_ops_room)
  get_property(ops GLOBAL PROPERTY OSTRIA_OPS)
  set(names "")
  foreach(op ${ops})
    get_filename_component(name ${op} NAME)
    list(APPEND names ${name})
  endforeach()
  list(SORT names)  # by name: moving a line in the list changes nothing
  set(declarations "")
  set(rows "")
  foreach(name ${names})
    string(REPLACE "_" ";" words ${name})
    set(symbol k)
    foreach(word ${words})
      string(SUBSTRING ${word} 0 1 head)
      string(SUBSTRING ${word} 1 -1 tail)
      string(TOUPPER ${head} head)
      string(APPEND symbol ${head}${tail})
    endforeach()
    string(APPEND declarations "extern const OpDef ${symbol};\n")
    string(APPEND rows "      &${symbol},\n")
  endforeach()
  list(LENGTH names count)
  set(note "// SPDX-License-Identifier: Apache-2.0\n// Generated from csrc/ops/CMakeLists.txt by cmake/Ostria.cmake; do not edit.\n")
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/ops/ops.h @ONLY CONTENT
"@note@#pragma once

#include <span>

namespace ostria {
struct OpDef;
namespace ops {

@declarations@
/// Every op, sorted by name.
std::span<const OpDef* const> AllOps();

}  // namespace ops
}  // namespace ostria
")
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/ops/manifest.cpp @ONLY CONTENT
"@note@#include <array>

#include \"ir/op_def.h\"
#include \"ops/ops.h\"

namespace ostria::ops {

std::span<const OpDef* const> AllOps() {
  static constexpr std::array<const OpDef*, @count@> kAllOps = {
@rows@  };
  return kAllOps;
}

}  // namespace ostria::ops
")
  # What several ops share lies in csrc/ops/common; a family's folder holds listed ops and nothing else.
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(source ${sources})
    file(RELATIVE_PATH op ${CMAKE_CURRENT_SOURCE_DIR} ${source})
    string(REGEX REPLACE "[.]cpp$" "" op ${op})
    if(NOT op MATCHES "^common/" AND NOT op IN_LIST ops)
      message(FATAL_ERROR "csrc/ops/${op}.cpp has no line ostria_op(${op}) in csrc/ops/CMakeLists.txt")
    endif()
  endforeach()
  ostria_room(ops ${sources} ${CMAKE_BINARY_DIR}/generated/ops/manifest.cpp)
endfunction()

function(ostria_test folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/${folder}/*_test.cpp)
  string(REPLACE "/" "_" target ${folder}_test)
  add_executable(${target} ${sources})
  target_link_libraries(${target} PRIVATE ostria_static GTest::gtest GTest::gtest_main)
  cmake_parse_arguments(test "" FIXTURE ENVIRONMENT ${ARGN})
  gtest_discover_tests(${target} DISCOVERY_TIMEOUT 60)
  if(test_ENVIRONMENT)  # behind the discovery, which takes no list as a property
    set(fixture "")
    if(test_FIXTURE)
      set(fixture "FIXTURES_SETUP ${test_FIXTURE}")
    endif()
    set(script ${CMAKE_CURRENT_BINARY_DIR}/${target}_environment.cmake)
    file(WRITE ${script} "if(${target}_TESTS)
  set_tests_properties(\${${target}_TESTS} PROPERTIES ${fixture} ENVIRONMENT \"${test_ENVIRONMENT}\")
endif()\n")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${script})
  endif()
endfunction()
