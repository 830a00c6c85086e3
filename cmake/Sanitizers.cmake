# SPDX-License-Identifier: Apache-2.0
if(OSTRIA_SANITIZE)
  add_compile_options(-fsanitize=${OSTRIA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${OSTRIA_SANITIZE})
endif()
