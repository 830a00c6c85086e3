# SPDX-License-Identifier: Apache-2.0
# Target ostria::sodium: libsodium's HMAC, random bytes and comparison in constant time, for the
# handshake of csrc/dist/control. Its archive is linked in, so that the wheel needs no package.
find_path(OSTRIA_SODIUM_INCLUDE sodium.h)
find_library(OSTRIA_SODIUM_LIBRARY NAMES libsodium.a)
if(NOT OSTRIA_SODIUM_INCLUDE OR NOT OSTRIA_SODIUM_LIBRARY)
  message(FATAL_ERROR "libsodium with its archive libsodium.a was not found (Debian: libsodium-dev); "
                      "give one by -DCMAKE_PREFIX_PATH=<prefix>")
endif()
# Its licence asks to go along with the archive.
find_file(OSTRIA_SODIUM_LICENSE NAMES copyright LICENSE NO_DEFAULT_PATH
          PATHS /usr/share/doc/libsodium-dev ${OSTRIA_SODIUM_INCLUDE}/../share/licenses/libsodium)
add_library(ostria_sodium INTERFACE)
add_library(ostria::sodium ALIAS ostria_sodium)
target_include_directories(ostria_sodium SYSTEM INTERFACE ${OSTRIA_SODIUM_INCLUDE})
target_compile_definitions(ostria_sodium INTERFACE SODIUM_STATIC)
target_link_libraries(ostria_sodium INTERFACE ${OSTRIA_SODIUM_LIBRARY})
