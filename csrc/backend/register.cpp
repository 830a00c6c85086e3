// SPDX-License-Identifier: Apache-2.0
// The table of backends. Those that are part of libostria are listed here; CUDA's is loaded when it
// is first asked for.
#include "backend/backend.h"

#include <atomic>

namespace ostria {

Backend* CpuBackend();
Backend* NullBackend();
Backend* LoadCudaBackend();

namespace {
constexpr int kKinds = 3;
std::atomic<Backend*> table[kKinds];  // the first look-ups may come from several threads
}  // namespace

DeviceProps Backend::Described(const std::string&) const {
  Fail(
      ErrorCode::kInvalidArgument, "device '", ToString({kind(), 0}),
      "' cannot be described; plans are made for the one that is there, or for a described 'cuda'");
}

std::vector<std::unique_ptr<Communicator>> Backend::Connect(
    std::span<const int>, std::vector<std::unique_ptr<Communicator>> hosts,
    std::chrono::milliseconds timeout) {
  for (const auto& host : hosts) host->set_timeout(timeout);
  return hosts;
}

void RegisterBackend(Backend* backend) { table[static_cast<int>(backend->kind())] = backend; }

void RegisterBackends() {
  RegisterBackend(CpuBackend());
  RegisterBackend(NullBackend());
}

Backend& FindBackend(DeviceKind kind) {
  if (table[static_cast<int>(DeviceKind::kNull)] == nullptr) RegisterBackends();
  if (kind == DeviceKind::kCuda && table[static_cast<int>(kind)] == nullptr) {
    RegisterBackend(LoadCudaBackend());
  }
  Backend* const backend = table[static_cast<int>(kind)];
  if (backend == nullptr) {
    std::string known;
    for (const Backend* b : table) {
      if (b != nullptr) known += StrCat(known.empty() ? "'" : ", '", ToString({b->kind(), 0}), "'");
    }
    Fail(ErrorCode::kDeviceUnavailable, "device '", ToString({kind, 0}),
         "' is not available in this build; available are ", known);
  }
  return *backend;
}

}  // namespace ostria
