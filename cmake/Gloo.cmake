# SPDX-License-Identifier: Apache-2.0
# Target ostria::gloo where Debian's libgloo-dev, or another Gloo 0.5, is found. Without it
# libostria_gloo.so is left out (OSTRIA_GLOO is FALSE) and groups stay on one host.
find_path(OSTRIA_GLOO_INCLUDE gloo/transport/tcp/device.h)
find_library(OSTRIA_GLOO_LIBRARY gloo)
set(OSTRIA_GLOO FALSE)
if(OSTRIA_GLOO_INCLUDE AND OSTRIA_GLOO_LIBRARY)
  set(OSTRIA_GLOO TRUE)
  add_library(ostria_gloo_api INTERFACE)
  add_library(ostria::gloo ALIAS ostria_gloo_api)
  target_include_directories(ostria_gloo_api SYSTEM INTERFACE ${OSTRIA_GLOO_INCLUDE})
  target_link_libraries(ostria_gloo_api INTERFACE ${OSTRIA_GLOO_LIBRARY})
elseif(OSTRIA_REQUIRE_GLOO)
  message(FATAL_ERROR "The transport between hosts cannot be built: there is no Gloo; install libgloo-dev")
else()
  message(STATUS "No transport between hosts: there is no Gloo (libgloo-dev)")
endif()
