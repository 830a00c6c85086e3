// SPDX-License-Identifier: Apache-2.0
// What a failure of the driver says to the user.
#include <atomic>
#include <mutex>
#include <unordered_map>

#include "backend/cuda/libraries/driver.h"
#include "base/error.h"

namespace ostria::cuda {
namespace {

// The function's address, or twice the number of nodes of a graph plus one: addresses are even.
std::atomic<uintptr_t> last_launch{0};

struct Names {
  std::mutex mutex;
  std::unordered_map<CUfunction, std::string> of;
};
Names& TheNames() {
  static auto* names = new Names;
  return *names;
}

// After these the context is lost, and with it everything in the device's memory.
bool EndsCuda(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED: return true;
    default: return false;
  }
}

}  // namespace

void NameLaunch(CUfunction function, std::string name) {
  std::lock_guard lock(TheNames().mutex);
  TheNames().of[function] = std::move(name);
}

void NoteLaunch(CUfunction function) {
  last_launch.store(reinterpret_cast<uintptr_t>(function), std::memory_order_relaxed);
}

void NoteReplay(size_t nodes) { last_launch.store(2 * nodes + 1, std::memory_order_relaxed); }

std::string LastLaunch() {
  const uintptr_t last = last_launch.load(std::memory_order_relaxed);
  if (last == 0) return "nothing yet";
  if (last % 2 == 1) return StrCat("a captured step of ", last / 2, " nodes");
  std::lock_guard lock(TheNames().mutex);
  const auto it = TheNames().of.find(reinterpret_cast<CUfunction>(last));
  return it == TheNames().of.end() ? "a kernel" : StrCat("kernel ", it->second);
}

std::string DriverText(CUresult result) {
  const char *name = nullptr, *text = nullptr;
  Driver().cuGetErrorName(result, &name);
  Driver().cuGetErrorString(result, &text);
  return StrCat(text == nullptr ? "unknown error" : text, " (",
                name == nullptr ? StrCat("code ", static_cast<int>(result)) : std::string(name),
                ")");
}

void CheckDriver(CUresult result, std::string_view what) {
  if (result == CUDA_SUCCESS) return;
  const std::string text = StrCat("cuda: ", what, " failed: ", DriverText(result));
  if (!EndsCuda(result)) {
    Fail(result == CUDA_ERROR_OUT_OF_MEMORY ? ErrorCode::kOutOfMemory : ErrorCode::kInternal, text);
  }
  // Every later call fails too, whoever makes it: what came first is what matters.
  static std::mutex mutex;
  static auto* const first = new std::string;
  std::lock_guard lock(mutex);
  const bool later = !first->empty();
  if (!later) *first = StrCat(text, "; launched last was ", LastLaunch());
  Fail(ErrorCode::kInternal, later ? StrCat(text, "; the first failure of this process was: ") : "",
       *first,
       "; CUDA cannot be used in this process any more: restart it, go on from a checkpoint, and "
       "find "
       "the kernel with CUDA_LAUNCH_BLOCKING=1");
}

}  // namespace ostria::cuda
