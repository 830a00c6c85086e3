// SPDX-License-Identifier: Apache-2.0
// What tests may ask of the fake driver.
// Settings come from the environment when the driver starts, or from the functions here:
//   FAKE_CUDA_DEVICES (2), FAKE_CUDA_MEMORY (bytes per device, 8 GiB), FAKE_CUDA_SEED (0),
//   FAKE_CUDA_VERSION (13000), FAKE_CUDA_CAPABILITY (90), FAKE_CUDA_VMM (1; 0: not supported),
//   FAKE_CUDA_INTERPRET (0; 1: generated loops are interpreted, not compiled: interpreted.h),
//   FAKE_CUDA_FAIL ("cuLaunchKernel:3": the third call fails; "cuMemAlloc:1:719": with this code).
//   FAKE_NCCL_INJECT, of fake-nccl: see fake_nccl_inject below.
#pragma once

#include <cstdint>

#include "kernels/host/shim.h"

extern "C" {
/// How often a function of the driver was called so far.
int64_t fake_cuda_count(const char* function);
/// Counts a call of a function of another library.
void fake_cuda_add(const char* function);
/// Sets what FAKE_CUDA_FAIL sets; calls are counted from now on. "": no failures.
void fake_cuda_fail(const char* spec);
/// The kernels and copies that ran since the last call, in their order, each with a space behind
/// it.
const char* fake_cuda_log();
/// The order of work is drawn from this.
void fake_cuda_seed(uint64_t seed);
/// Bytes that a device has, from now on, beside those that are taken already.
void fake_cuda_memory(uint64_t bytes);
/// How many of those are taken.
int64_t fake_cuda_used(int device);
/// How many devices there are, from now on; more than before.
void fake_cuda_devices(int count);
/// Whether devices support virtual memory management, from now on.
void fake_cuda_vmm(int supported);
/// Ends the error that every call returns once a device has failed: what a new process would do.
void fake_cuda_reset();
/// What the last sticky error was about; "" if there was none.
const char* fake_cuda_last_fault();
/// The library that the fake compiler made of generated code and whose path `image` holds; nullptr
/// for an image of real device code.
void* fake_cuda_open_generated(const void* image);
ostria::kernels::host::Body fake_cuda_generated_body(void* library, const char* name);

// Of fake-nccl (nccl.cpp):
/// What goes wrong from now on, separated by commas; N counts the collectives that RANK runs from
/// now on, the first is 1. "hang:RANK:N": never completes; "error:RANK:N": an error is reported
/// instead, asynchronously; "delay:RANK:MS": each begins MS milliseconds late; "absent:RANK": never
/// joins.
void fake_nccl_inject(const char* spec);
/// Collectives that have completed, over all communicators, and those that live.
int64_t fake_nccl_completed();
int64_t fake_nccl_live();
}
