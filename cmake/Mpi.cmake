# SPDX-License-Identifier: Apache-2.0
# Target ostria::mpi where Open MPI's headers (Debian's libopenmpi-dev), or those of another MPI 3,
# are found. Without them libostria_mpi.so is left out (OSTRIA_MPI is FALSE).
set(OSTRIA_MPI FALSE CACHE INTERNAL "Whether there is a transport over MPI")
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI 3.0 QUIET COMPONENTS CXX)
if(MPI_CXX_FOUND)
  set(OSTRIA_MPI TRUE CACHE INTERNAL "Whether there is a transport over MPI")
  add_library(ostria_mpi_api INTERFACE)
  add_library(ostria::mpi ALIAS ostria_mpi_api)
  target_link_libraries(ostria_mpi_api INTERFACE MPI::MPI_CXX)
elseif(OSTRIA_REQUIRE_MPI)
  message(FATAL_ERROR "The transport 'mpi' cannot be built: there is no MPI; install libopenmpi-dev")
else()
  message(STATUS "No transport 'mpi': there is no MPI (libopenmpi-dev)")
endif()
