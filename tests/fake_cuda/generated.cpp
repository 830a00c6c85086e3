// SPDX-License-Identifier: Apache-2.0
// Generated code, compiled by the host's compiler: an "image" is a mark and the path of a library.
#include <dlfcn.h>

#include <cstring>
#include <string>

#include "fake_cuda/fake_cuda.h"

extern "C" {

void* fake_cuda_open_generated(const void* image) {
  constexpr char kMark[] = "fake-cubin:";
  const auto* text = static_cast<const char*>(image);
  if (std::strncmp(text, kMark, sizeof kMark - 1) != 0) return nullptr;
  return dlopen(text + sizeof kMark - 1, RTLD_NOW | RTLD_LOCAL);
}

ostria::kernels::host::Body fake_cuda_generated_body(void* library, const char* name) {
  return reinterpret_cast<ostria::kernels::host::Body>(dlsym(library, name));
}

}  // extern "C"
