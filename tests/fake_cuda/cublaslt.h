// SPDX-License-Identifier: Apache-2.0
// What tests may ask of the fake cuBLASLt.
#pragma once

#include <cstdint>

extern "C" {
/// How often a function was called so far, or an algorithm run: "in place", "slow", "fast".
int64_t fake_cublaslt_count(const char* what);
}
