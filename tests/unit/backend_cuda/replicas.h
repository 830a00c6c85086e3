// SPDX-License-Identifier: Apache-2.0
// Replicas on GPUs of the fake driver, which talk through fake-nccl, and on virtual CPUs.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend_cuda/fake.h"
#include "dist/local.h"
#include "runtime/compiled_graph.h"

namespace ostria {

Backend* CudaBackend();

/// `n` replicas on devices from `first` on.
inline std::shared_ptr<ReplicaGroup> Replicas(
    DeviceKind kind, int first, int n,
    std::chrono::milliseconds timeout = std::chrono::milliseconds(20'000)) {
  RegisterBackend(CudaBackend());
  std::vector<DeviceId> devices;
  std::vector<int> ordinals;
  std::vector<std::string> names;
  for (int i = first; i < first + n; ++i) {
    devices.push_back({kind, static_cast<int16_t>(i)});
    ordinals.push_back(i);
    names.push_back(ToString(devices.back()));
  }
  return std::make_shared<ReplicaGroup>(
      devices, [=] { return FindBackend(kind).Connect(ordinals, MakeLocalGroup(names), timeout); });
}

inline void Devices(int n) { fake::Function<void(int)>("fake_cuda_devices")(n); }
inline void Inject(const char* spec) {
  fake::Function<void(const char*)>("fake_nccl_inject")(spec);
}
/// Of collectives that have run, and of communicators that live.
inline int64_t Completed() { return fake::Function<int64_t()>("fake_nccl_completed")(); }
inline int64_t Live() { return fake::Function<int64_t()>("fake_nccl_live")(); }

inline std::string ErrorOf(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace ostria
