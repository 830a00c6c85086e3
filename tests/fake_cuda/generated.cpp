// SPDX-License-Identifier: Apache-2.0
// Generated code, compiled by the host's compiler: an "image" is a mark, a number of bytes and a
// shared library, so that it works in another process than the one that made it.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "fake_cuda/fake_cuda.h"

extern "C" {

void* fake_cuda_open_generated(const void* image) {
  constexpr char kMark[] = "fake-cubin:";
  const auto* text = static_cast<const char*>(image);
  if (std::strncmp(text, kMark, sizeof kMark - 1) != 0) return nullptr;
  char* code = nullptr;
  size_t left = std::strtoull(text + sizeof kMark - 1, &code, 10);
  ++code;
  const int file = memfd_create("fake-cubin", MFD_CLOEXEC);
  while (left > 0) {
    const ssize_t wrote = ::write(file, code, left);
    if (wrote <= 0) return nullptr;
    code += wrote;
    left -= static_cast<size_t>(wrote);
  }
  // The file stays open: a later one of the same number would be taken for this one.
  return dlopen(("/proc/self/fd/" + std::to_string(file)).c_str(), RTLD_NOW | RTLD_LOCAL);
}

ostria::kernels::host::Body fake_cuda_generated_body(void* library, const char* name) {
  return reinterpret_cast<ostria::kernels::host::Body>(dlsym(library, name));
}

}  // extern "C"
