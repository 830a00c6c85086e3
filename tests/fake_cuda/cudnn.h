// SPDX-License-Identifier: Apache-2.0
// What tests may ask of the fake cuDNN.
#pragma once

#include <cstdint>

extern "C" {
/// How often an engine failed that OSTRIA_FAKE_CUDNN_FAILS names.
int64_t fake_cudnn_failures();
}
