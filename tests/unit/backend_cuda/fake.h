// SPDX-License-Identifier: Apache-2.0
// The fake driver's own functions, for tests: see tests/fake_cuda/fake_cuda.h.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "backend/cuda/libraries/driver.h"

namespace ostria::fake {

template <class Fn>
Fn* Function(const char* name) {
  cuda::Driver();  // loads it
  const std::string path = std::string(std::getenv("OSTRIA_CUDA_LIBRARIES")) + "/libcuda.so.1";
  static void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  return reinterpret_cast<Fn*>(dlsym(library, name));
}

inline int64_t Count(const char* function) {
  return Function<int64_t(const char*)>("fake_cuda_count")(function);
}
inline void Fail(const char* spec) { Function<void(const char*)>("fake_cuda_fail")(spec); }
inline void Seed(uint64_t seed) { Function<void(uint64_t)>("fake_cuda_seed")(seed); }
inline void Memory(uint64_t bytes) { Function<void(uint64_t)>("fake_cuda_memory")(bytes); }
inline void Vmm(bool supported) { Function<void(int)>("fake_cuda_vmm")(supported ? 1 : 0); }
inline void Reset() { Function<void()>("fake_cuda_reset")(); }
inline std::string Log() { return Function<const char*()>("fake_cuda_log")(); }
inline std::string LastFault() { return Function<const char*()>("fake_cuda_last_fault")(); }

}  // namespace ostria::fake
