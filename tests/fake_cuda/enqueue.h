// SPDX-License-Identifier: Apache-2.0
// What stand-ins for libraries that launch kernels of their own need of the fake driver. Apart from
// fake_cuda.h, whose vector types are not those of the toolkit's headers.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

namespace fake_cuda {

/// Of all of the fake driver: what follows is called with it held.
std::recursive_mutex& Mutex();
/// Of the calling thread; -1: it has no context.
int CurrentDevice();
int DeviceOf(CUstream stream);
/// Notes that work ran.
void Log(const std::string& what);
/// From now on every call returns `code`.
void Fault(CUresult code, const std::string& what);
/// Whether `bytes` at `p` are memory of `device` or pinned; else a fault that names `what`.
bool CheckRange(const char* what, uintptr_t p, size_t bytes, int device);
/// Runs a few pieces of work, or none.
void RunSome();
/// Lets other threads have the lock for a moment; it is held once.
void Yield();

/// Asked again and again of work that is ready, with a number of its own that is -1 at first:
/// whether it may run now. Where it waits for work of other streams.
using Gate = std::function<bool(int64_t* ticket)>;

/// Puts work into a stream, or into the graph where the stream is captured. `work` runs later, in
/// any thread.
CUresult Enqueue(CUstream stream, std::function<void()> work, Gate gate = nullptr);

}  // namespace fake_cuda
