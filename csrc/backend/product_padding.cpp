// SPDX-License-Identifier: Apache-2.0
#include "backend/product_padding.h"

namespace ostria {
namespace {

constexpr int kTensorCores = 80;  // compute capability: kernels that take bfloat16 and TF32
constexpr int64_t kVectorBytes = 16;

// Estimates for sm_90 that decide and promise nothing: 16-bit products at 800 TFLOP/s beside 3 TB/s
// of memory, those of TF32 at half that rate, 2 us for a launch. A product whose rows are no
// vectors is taken to need twice its time, and what is estimated must gain twice what it costs.
constexpr double kFlopsPerByte = 800e12 / 3e12;
constexpr double kFlopsPerLaunch = 800e12 * 2e-6;
constexpr double kSlowdown = 2, kMargin = 2;

}  // namespace

int64_t ProductMultiple(const DeviceProps& device, DType dtype) {
  if (device.kind != DeviceKind::kCuda || device.compute_capability < kTensorCores) return 1;
  const bool halves = IsFloat(dtype) && SizeOf(dtype) == 2;
  if (!halves && !(dtype == DType::kFloat32 && device.tf32)) return 1;
  return kVectorBytes / SizeOf(dtype);
}

bool PaddingPays(const DeviceProps& device, const ops::ProductPadding& p) {
  if (ProductMultiple(device, p.dtype) == 1) return false;
  const double rate = SizeOf(p.dtype) == 2 ? 1 : 0.5;
  const double gained = kSlowdown * p.flops - p.padded_flops;
  // One launch more than are counted: a product that takes less is not looked at.
  const double cost = rate * (kFlopsPerByte * static_cast<double>(p.copied_bytes) +
                              kFlopsPerLaunch * (1 + p.launches));
  return gained >= kMargin * cost;
}

}  // namespace ostria
