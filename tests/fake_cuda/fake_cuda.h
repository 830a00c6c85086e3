// SPDX-License-Identifier: Apache-2.0
// What tests may ask of the fake driver, and what its files share.
#pragma once

#include <cstdint>

#include "kernels/host/shim.h"

extern "C" {
/// How often a function of the driver was called so far.
int64_t fake_cuda_count(const char* function);
/// The library that the fake compiler made of generated code and whose path `image` holds; nullptr
/// for an image of real device code.
void* fake_cuda_open_generated(const void* image);
ostria::kernels::host::Body fake_cuda_generated_body(void* library, const char* name);
}
