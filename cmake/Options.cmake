# SPDX-License-Identifier: Apache-2.0
# What a builder may choose; everything else is fixed.
option(OSTRIA_BUILD_TESTS "Build the GoogleTest binaries" ON)
option(OSTRIA_REQUIRE_PYTHON "Stop when the Python extension cannot be built, instead of leaving it out" OFF)
option(OSTRIA_REQUIRE_CUDA "Stop when the CUDA backend cannot be built, instead of leaving it out" OFF)
option(OSTRIA_REQUIRE_GLOO "Stop when the transport between hosts cannot be built, instead of leaving it out" OFF)
option(OSTRIA_REQUIRE_MPI "Stop when the transport 'mpi' cannot be built, instead of leaving it out" OFF)
option(OSTRIA_INPLACE "Write the libraries into python/ostria, so that PYTHONPATH=python works" ON)
option(OSTRIA_WERROR "Treat compiler warnings as errors" OFF)
set(OSTRIA_SANITIZE "" CACHE STRING "Sanitizers to build with: empty, 'address,undefined' or 'thread'")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# libostria.map, not an attribute on every class, decides what libostria.so exports.
set(CMAKE_VISIBILITY_INLINES_HIDDEN OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
add_compile_options(-fno-semantic-interposition)  # calls inside libostria.so are direct

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
