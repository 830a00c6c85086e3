// SPDX-License-Identifier: Apache-2.0
#include "runtime/arena.h"

#include <map>

#include "backend/backend.h"

namespace ostria {
namespace {
// Address space; pages cost memory when touched. The thread sanitizer leaves a program 1.5 TiB.
#ifdef __SANITIZE_THREAD__
constexpr int64_t kAddresses = int64_t{1} << 38;
#else
constexpr int64_t kAddresses = int64_t{1} << 40;
#endif
}  // namespace

std::shared_ptr<ActivationArena> ActivationArena::Of(DeviceId device) {
  static std::mutex mutex;
  static auto* arenas = new std::map<DeviceId, std::shared_ptr<ActivationArena>>;
  std::lock_guard lock(mutex);
  auto& arena = (*arenas)[device];
  if (arena == nullptr) arena = std::make_shared<ActivationArena>(device);
  return arena;
}

ActivationArena::ActivationArena(DeviceId device)
    : device_(device),
      base_(static_cast<std::byte*>(
          FindBackend(device.kind).Reserve(device.ordinal, static_cast<size_t>(kAddresses)))) {}

ActivationArena::~ActivationArena() {
  FindBackend(device_.kind).Release(device_.ordinal, base_, static_cast<size_t>(kAddresses));
}

void ActivationArena::Require(int64_t bytes) {
  if (bytes > kAddresses) {
    Fail(ErrorCode::kOutOfMemory, "a plan of ", bytes, " bytes of activations cannot run on ",
         ToString(device_), "; use a smaller batch");
  }
  FindBackend(device_.kind).Commit(device_.ordinal, base_, static_cast<size_t>(bytes));
}

}  // namespace ostria
