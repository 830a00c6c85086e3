# SPDX-License-Identifier: Apache-2.0
add_compile_options(-Wall -Wextra -Wno-missing-field-initializers)
if(OSTRIA_WERROR)
  add_compile_options(-Werror)
endif()
