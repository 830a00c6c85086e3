// SPDX-License-Identifier: Apache-2.0
// Implementations of the pools for float32 and float64: simd/pool_table.h, rows split among
// threads.
#include <algorithm>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "backend/cpu/simd/pool_table.h"
#include "base/parallel.h"
#include "ops/common/pool.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

struct PoolState : KernelState {
  PoolShape shape = {};
  DType dtype = DType::kFloat32;
  const PoolTable* table = nullptr;
  int64_t rows = 0, grain = 1;
};

Support SupportsPool(const NodeDesc& node) {
  const DType dtype = node.inputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  return NeedsDense(node);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& node, const MemDesc& image, const MemDesc& y,
                                     DType index) {
  auto state = std::make_unique<PoolState>();
  const ops::Window w = ops::PoolWindow(node.attrs).Widened();
  // Depth, height and width; axes that are missing have size 1.
  const auto spatial = [](const MemDesc& m) {
    ops::Window::Sizes sizes{1, 1, 1};
    std::copy_n(&m.sizes[1], m.rank - 2, sizes.end() - (m.rank - 2));
    return sizes;
  };
  const auto [d, h, width] = spatial(image);
  const auto [od, oh, ow] = spatial(y);
  state->shape = {image.sizes[0],
                  d,
                  h,
                  width,
                  image.sizes[image.rank - 1],
                  od,
                  oh,
                  ow,
                  w.size[0],
                  w.size[1],
                  w.size[2],
                  w.stride[0],
                  w.stride[1],
                  w.stride[2],
                  w.low[0],
                  w.low[1],
                  w.low[2],
                  index != DType::kUInt8};
  state->dtype = image.dtype;
  state->table = &OfCurrentIsa(kPoolBaseline, kPoolAvx2, kPoolAvx512);
  const auto out = spatial(node.outputs[0]);
  state->rows = node.outputs[0].sizes[0] * out[0] * out[1];
  const int64_t per_row = std::max<int64_t>(1, image.numel() / std::max<int64_t>(1, state->rows));
  state->grain = std::max<int64_t>(1, 8192 / per_row);
  state->detail = Name(CurrentIsa());
  return state;
}

std::unique_ptr<KernelState> PrepareMax(const NodeDesc& node) {
  return Prepare(node, node.inputs[0], node.outputs[0], node.outputs[1].dtype);
}
std::unique_ptr<KernelState> PrepareMaxGrad(const NodeDesc& node) {
  return Prepare(node, node.outputs[0], node.inputs[0], node.inputs[1].dtype);
}
std::unique_ptr<KernelState> PrepareAverage(const NodeDesc& node) {
  return Prepare(node, node.inputs[0], node.outputs[0], DType::kUInt8);
}
std::unique_ptr<KernelState> PrepareAverageGrad(const NodeDesc& node) {
  return Prepare(node, node.outputs[0], node.inputs[0], DType::kUInt8);
}

// Calls fn(kernels, null pointer of the element type, row) for every row.
template <class Fn>
void ForRows(const KernelState& state, Fn fn) {
  const auto& s = static_cast<const PoolState&>(state);
  const auto run = [&](const auto& kernels, auto* type) {
    ParallelFor(s.rows, s.grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) fn(s.shape, kernels, type, row);
    });
  };
  if (s.dtype == DType::kFloat32) {
    run(s.table->f32, static_cast<float*>(nullptr));
  } else {
    run(s.table->f64, static_cast<double*>(nullptr));
  }
}

void LaunchMax(const KernelState& state, void* const* ptrs) {
  ForRows(state, [&]<class T>(const PoolShape& p, const PoolKernels<T>& k, T*, int64_t row) {
    k.max(p, static_cast<const T*>(ptrs[0]), static_cast<T*>(ptrs[1]), ptrs[2], row);
  });
}

void LaunchMaxGrad(const KernelState& state, void* const* ptrs) {
  ForRows(state, [&]<class T>(const PoolShape& p, const PoolKernels<T>& k, T*, int64_t row) {
    k.max_grad(p, static_cast<const T*>(ptrs[0]), ptrs[1], static_cast<T*>(ptrs[2]), row);
  });
}

void LaunchAverage(const KernelState& state, void* const* ptrs) {
  ForRows(state, [&]<class T>(const PoolShape& p, const PoolKernels<T>& k, T*, int64_t row) {
    k.average(p, static_cast<const T*>(ptrs[0]), static_cast<T*>(ptrs[1]), row);
  });
}

void LaunchAverageGrad(const KernelState& state, void* const* ptrs) {
  ForRows(state, [&]<class T>(const PoolShape& p, const PoolKernels<T>& k, T*, int64_t row) {
    k.average_grad(p, static_cast<const T*>(ptrs[0]), static_cast<T*>(ptrs[1]), row);
  });
}

constexpr KernelDef kKernels[] = {
    {&ops::kMaxPool1d, "channels", SupportsPool, PrepareMax, LaunchMax},
    {&ops::kMaxPool2d, "channels", SupportsPool, PrepareMax, LaunchMax},
    {&ops::kMaxPool3d, "channels", SupportsPool, PrepareMax, LaunchMax},
    {&ops::kAvgPool1d, "channels", SupportsPool, PrepareAverage, LaunchAverage},
    {&ops::kAvgPool2d, "channels", SupportsPool, PrepareAverage, LaunchAverage},
    {&ops::kAvgPool3d, "channels", SupportsPool, PrepareAverage, LaunchAverage},
    {&ops::kMaxPoolGrad, "channels", SupportsPool, PrepareMaxGrad, LaunchMaxGrad},
    {&ops::kAvgPoolGrad, "channels", SupportsPool, PrepareAverageGrad, LaunchAverageGrad},
};

}  // namespace

std::span<const KernelDef> PoolingKernels() { return kKernels; }

}  // namespace ostria::cpu
