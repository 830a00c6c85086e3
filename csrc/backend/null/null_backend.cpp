// SPDX-License-Identifier: Apache-2.0
// A device that computes nothing: every op is supported and every launch returns at once. Planner,
// scheduler and executor are tested and timed on it without arithmetic.
#include <sys/mman.h>

#include "backend/backend.h"

namespace ostria {
namespace {

std::unique_ptr<KernelState> Prepare(const NodeDesc&) { return std::make_unique<KernelState>(); }

constexpr KernelDef kKernels[] = {{
    .op = nullptr,
    .impl = "null",
    .supports = [](const NodeDesc&) { return Support::Yes(); },
    .prepare = Prepare,
    .launch = [](const KernelState&, void* const*) {},
    .alias_ok = [](const NodeDesc& d, int, int) { return d.op->traits.elementwise; },
}};

class NullBackendImpl final : public Backend {
 public:
  DeviceKind kind() const override { return DeviceKind::kNull; }
  DeviceProps Props(int) const override { return {.kind = DeviceKind::kNull, .name = "null"}; }
  std::span<const KernelDef> Kernels() const override { return kKernels; }
  void* Reserve(int, size_t bytes) override {
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) Fail(ErrorCode::kOutOfMemory, "null: ", bytes, " bytes were refused");
    return p;
  }
  void Release(int, void* base, size_t bytes) override { ::munmap(base, bytes); }
  void CopyToDevice(int, void*, const void*, size_t) override {}
  void CopyToHost(int, void*, const void*, size_t) override {}
};

}  // namespace

Backend* NullBackend() {
  static auto* backend = new NullBackendImpl;  // variables may outlive static teardown
  return backend;
}

}  // namespace ostria
