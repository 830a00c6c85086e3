# SPDX-License-Identifier: Apache-2.0
if(OSTRIA_SANITIZE)
  add_compile_options(-fsanitize=${OSTRIA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${OSTRIA_SANITIZE})
endif()
if(OSTRIA_SANITIZE MATCHES "address")
  # The library's own checks see an index beyond a vector's size but within its capacity, which the
  # sanitizer does not. -O1 takes a third off the time to compile.
  add_compile_options(-O1 -D_GLIBCXX_ASSERTIONS)
endif()
