# SPDX-License-Identifier: Apache-2.0
# How the project's own targets are made.
#   ostria_room(NAME [SOURCES])   object library of one folder; without SOURCES, every .cpp in it
#   ostria_test(FOLDER)           one GoogleTest binary of every *_test.cpp in tests/unit/FOLDER

define_property(GLOBAL PROPERTY OSTRIA_ROOMS BRIEF_DOCS "Object libraries that make up libostria")

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

function(ostria_test folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/${folder}/*_test.cpp)
  string(REPLACE "/" "_" target ${folder}_test)
  add_executable(${target} ${sources})
  target_link_libraries(${target} PRIVATE ostria_static GTest::gtest GTest::gtest_main)
  gtest_discover_tests(${target} DISCOVERY_TIMEOUT 60)
endfunction()
